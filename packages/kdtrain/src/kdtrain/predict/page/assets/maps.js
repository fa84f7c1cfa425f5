// Heat maps: values at a place, colours of values, and a picture of a region's map that covers exactly its box. A class
// choice is a class's number, or the one that stands for each region's own predicted class.
class Maps {
  static CELL_PX = 8; // of the picture per cell; beyond it the canvas's own smoothing does
  static LARGEST_PX = 512;

  constructor(regions, colours) {
    this.regions = regions;
    this.fullAt = colours.fullAt;
    this.tables = { false: bytesOf(colours.sequential), true: bytesOf(colours.diverging) };
    this.values = new Map();
    this.forgetPictures();
  }

  forgetPictures() {
    this.pictures = new Map();
  }

  of(region, method, classChoice) {
    const wanted = classChoice === data.ownClass ? region.predicted : classChoice;
    return region.maps.find((map) => map.method === method && map.classIndex === wanted);
  }

  // Scale of a method and class over the whole slide: {top, signed}; null where no region has such a map.
  scaleOf(method, classChoice) {
    const shown = this.regions.map((region) => this.of(region, method, classChoice)).filter(Boolean);
    const classes = new Set(shown.map((map) => map.classIndex));
    const scales = data.scales.filter((scale) => scale.method === method && classes.has(scale.classIndex));
    if (scales.length === 0) return null;
    const top = Math.max(...scales.map((scale) => scale.top));
    return { top, signed: scales.some((scale) => scale.signed), regions: shown.length };
  }

  numbers(map) {
    if (!this.values.has(map)) {
      const steps = bytesOf(map.values);
      this.values.set(map, Float32Array.from(steps, (step) => map.low + (step / 255) * (map.high - map.low)));
    }
    return this.values.get(map);
  }

  // Interpolated between the centres of cells; beyond the outer ones the edge goes on. x and y are image pixels.
  valueAt(map, x, y) {
    const values = this.numbers(map);
    const column = held((x - map.first[0]) / map.step[0], 0, map.columns - 1);
    const row = held((y - map.first[1]) / map.step[1], 0, map.rows - 1);
    const [left, top] = [Math.floor(column), Math.floor(row)];
    const [right, below] = [Math.min(left + 1, map.columns - 1), Math.min(top + 1, map.rows - 1)];
    const [acrossPart, downPart] = [column - left, row - top];
    const along = (line) =>
      values[line * map.columns + left] * (1 - acrossPart) + values[line * map.columns + right] * acrossPart;
    return along(top) * (1 - downPart) + along(below) * downPart;
  }

  // Red, green, blue and opacity of a value: nothing is drawn at 0, full colour from a part of the scale on.
  colourOf(value, scale) {
    const part = held(value / scale.top, scale.signed ? -1 : 0, 1);
    const row = Math.round(255 * (scale.signed ? (part + 1) / 2 : part));
    const opacity = Math.round(255 * Math.min(Math.abs(part) / this.fullAt, 1));
    const table = this.tables[scale.signed];
    return [table[3 * row], table[3 * row + 1], table[3 * row + 2], opacity];
  }

  picture(region, map, scale) {
    if (!this.pictures.has(map)) this.pictures.set(map, this.drawn(region, map, scale));
    return this.pictures.get(map);
  }

  drawn(region, map, scale) {
    const shrink = Math.min(1, Maps.LARGEST_PX / (Maps.CELL_PX * Math.max(map.columns, map.rows)));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(Math.round(map.columns * Maps.CELL_PX * shrink), 1);
    canvas.height = Math.max(Math.round(map.rows * Maps.CELL_PX * shrink), 1);
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    for (let row = 0, at = 0; row < canvas.height; row += 1) {
      const y = ((row + 0.5) * region.image[1]) / canvas.height;
      for (let column = 0; column < canvas.width; column += 1, at += 4) {
        const x = ((column + 0.5) * region.image[0]) / canvas.width;
        image.data.set(this.colourOf(this.valueAt(map, x, y), scale), at);
      }
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }
}
