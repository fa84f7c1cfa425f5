// One painting of the stage: slide, tiles, map, outlines, in this order. Nothing here depends on the theme: what is
// drawn lies on the slide, which is always light.
class Painter {
  constructor(canvas, view, tiles, maps) {
    Object.assign(this, { canvas, view, tiles, maps, context: canvas.getContext("2d"), overview: null });
  }

  paint(state) {
    const ratio = devicePixelRatio;
    const [width, height] = [Math.round(this.view.width * ratio), Math.round(this.view.height * ratio)];
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.clearRect(0, 0, width, height);
    this.context.imageSmoothingQuality = "high";
    this.ratio = ratio;
    this.lacking = new Map();
    this.tiles.beginPainting();
    this.slide();
    const seen = data.regions.filter((region) => this.isSeen(region.box));
    for (const region of seen) this.regionTiles(region);
    if (state.mapShown && state.scale) for (const region of seen) this.map(region, state);
    if (state.outlines) for (const region of seen) this.outline(region, region === state.selected);
    if (state.printing) this.bar();
    this.tiles.want(this.lacking);
  }

  // A level-0 box in whole device pixels, so that neighbours meet without a seam.
  placed([left, top, width, height]) {
    const [x0, y0] = this.view.screenFrom(left, top).map((place) => Math.round(place * this.ratio));
    const [x1, y1] = this.view.screenFrom(left + width, top + height).map((place) => Math.round(place * this.ratio));
    return [x0, y0, Math.max(x1 - x0, 1), Math.max(y1 - y0, 1)];
  }

  isSeen(box) {
    const [x, y, width, height] = this.placed(box);
    return x < this.canvas.width && y < this.canvas.height && x + width > 0 && y + height > 0;
  }

  slide() {
    const place = this.placed([0, 0, data.slide.width, data.slide.height]);
    this.context.fillStyle = "#fff";
    this.context.fillRect(...place);
    if (this.overview) this.context.drawImage(this.overview, ...place);
  }

  // The coarsest level that has a pixel for every pixel of the screen; below it the single tile that is always at
  // hand, so that nothing is ever empty while tiles are decoded.
  regionTiles(region) {
    if (region.levels.length === 0) return;
    const shownPerScreen = region.display[0] / (region.box[2] * this.view.scale * this.ratio);
    const overviewWidth = this.overview ? this.overview.width : 0;
    if (overviewWidth >= data.slide.width * this.view.scale * this.ratio) return;
    const coarsest = region.levels.at(-1);
    const enough = region.levels.findLast((level) => level.reduction <= shownPerScreen * 1.25) ?? region.levels[0];
    this.level(region, coarsest);
    if (enough !== coarsest) this.level(region, enough);
  }

  level(region, level) {
    const [spanX, spanY] = region.display.map((pixels) => pixels / level.reduction);
    const [perX, perY] = [region.box[2] / spanX, region.box[3] / spanY];
    level.tiles.forEach((base64, number) => {
      const [column, row] = [number % level.columns, Math.floor(number / level.columns)];
      const [left, top] = [column * data.tilePx, row * data.tilePx];
      const [wide, high] = [Math.min(data.tilePx, spanX - left), Math.min(data.tilePx, spanY - top)];
      const box = [region.box[0] + left * perX, region.box[1] + top * perY, wide * perX, high * perY];
      if (!this.isSeen(box)) return;
      const key = `${region.number}/${level.reduction}/${number}`;
      const bitmap = this.tiles.get(key);
      if (!bitmap) this.lacking.set(key, base64);
      else this.tile(bitmap, box, [column, row].map((place) => (place > 0 ? data.overlapPx : 0)), [perX, perY]);
    });
  }

  // Drawn with what it overlaps its neighbours, and cut to its own box: enlarged, it is smooth across its edges.
  tile(bitmap, box, [before, above], [perX, perY]) {
    const [x, y] = this.view.screenFrom(box[0] - before * perX, box[1] - above * perY);
    const [scaleX, scaleY] = [perX, perY].map((per) => per * this.view.scale * this.ratio);
    this.context.save();
    this.context.beginPath();
    this.context.rect(...this.placed(box));
    this.context.clip();
    this.context.drawImage(bitmap, x * this.ratio, y * this.ratio, bitmap.width * scaleX, bitmap.height * scaleY);
    this.context.restore();
  }

  map(region, state) {
    const map = this.maps.of(region, state.method, state.classChoice);
    if (!map) return;
    this.context.globalAlpha = state.opacity;
    this.context.drawImage(this.maps.picture(region, map, state.scale), ...this.placed(region.box));
    this.context.globalAlpha = 1;
  }

  outline(region, isSelected) {
    const place = this.placed(region.box);
    const lines = [["#ffffffb0", isSelected ? 6 : 3.5], [isSelected ? "#0b5a94" : "#1a1d21", isSelected ? 3 : 1.25]];
    for (const [colour, width] of lines) {
      this.context.strokeStyle = colour;
      this.context.lineWidth = width * this.ratio;
      this.context.strokeRect(...place);
    }
    this.tag(region, place, isSelected);
  }

  // The region's number at its upper left corner, left out where the region is hardly larger.
  tag(region, [x, y, width], isSelected) {
    const size = 12 * this.ratio;
    this.context.font = `600 ${size}px system-ui, sans-serif`;
    const text = String(region.number);
    const wide = this.context.measureText(text).width + size * 0.8;
    if (width < wide * 2) return;
    const [left, top] = [Math.max(x, 0), Math.max(y, 0)];
    this.context.fillStyle = isSelected ? "#0b5a94" : "#1a1d21";
    this.context.fillRect(left, top, wide, size * 1.5);
    this.context.fillStyle = "#fff";
    this.context.fillText(text, left + size * 0.4, top + size * 1.1);
  }

  // On paper the scale bar is part of the picture, since the paper's size decides how large that is.
  bar() {
    const length = scaleBar(this.view);
    if (!length) return;
    const [wide, size] = [length.px * this.ratio, 13 * this.ratio];
    const [left, bottom] = [size, this.canvas.height - size];
    this.context.fillStyle = "#ffffffd0";
    this.context.fillRect(left - size * 0.5, bottom - size * 2, wide + size, size * 2.5);
    this.context.fillStyle = "#1a1d21";
    this.context.fillRect(left, bottom - size * 0.3, wide, size * 0.3);
    this.context.font = `600 ${size}px system-ui, sans-serif`;
    this.context.fillText(length.text, left, bottom - size * 0.7);
  }
}
