// What stands beside the slide: choices of the map, its legend, the table of regions, the line below the slide.
class Legend {
  constructor(maps) {
    this.maps = maps;
  }

  show(scale, method, className, total) {
    byId("legend").hidden = !scale;
    if (!scale) return;
    const canvas = byId("ramp");
    const context = canvas.getContext("2d");
    const least = scale.signed ? -scale.top : 0;
    context.clearRect(0, 0, canvas.width, canvas.height);
    for (let x = 0; x < canvas.width; x += 1) {
      const value = least + ((x + 0.5) / canvas.width) * (scale.top - least);
      const [red, green, blue, opacity] = this.maps.colourOf(value, scale);
      context.fillStyle = `rgb(${red} ${green} ${blue} / ${opacity / 255})`;
      context.fillRect(x, 0, 1, canvas.height);
    }
    byId("low").textContent = figure(least);
    byId("middle").textContent = scale.signed ? "0" : figure(scale.top / 2);
    byId("high").textContent = figure(scale.top);
    byId("against").textContent = scale.signed ? `\u2190 against ${className}` : "no evidence";
    byId("for").textContent = `for ${className} \u2192`;
    byId("meaning").textContent = `Shown: ${data.meanings[method].replace("'{}'", () => className)}.`;
    byId("partly").textContent =
      scale.regions < total ? `${scale.regions} of ${total} regions have this map.` : "";
  }
}

class RegionTable {
  constructor(table, chosen) {
    this.table = table;
    this.bodies = new Map([...table.tBodies].map((body) => [Number(body.dataset.region), body]));
    for (const [index, body] of this.bodies) body.addEventListener("click", () => chosen(index));
    for (const button of table.querySelectorAll("thead button")) {
      button.addEventListener("click", () => this.sort(button));
    }
  }

  // By a column of numbers; again turns the order. Numbers of regions begin with the smallest, others the largest.
  sort(button) {
    const head = button.closest("th");
    const before = head.getAttribute("aria-sort");
    const first = head.dataset.column === "number" ? "ascending" : "descending";
    const second = first === "ascending" ? "descending" : "ascending";
    const order = before === first ? second : first;
    for (const other of this.table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const place = [...head.parentElement.children].indexOf(head);
    const valueOf = (body) => Number(body.rows[0].cells[place].dataset.value);
    const sign = order === "ascending" ? 1 : -1;
    const sorted = [...this.bodies.values()].sort((one, other) => sign * (valueOf(one) - valueOf(other)));
    this.table.append(...sorted);
  }

  select(index) {
    for (const [number, body] of this.bodies) {
      body.classList.toggle("selected", number === index);
      const button = body.querySelector("button");
      if (number === index) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    const box = this.table.parentElement;
    const body = this.bodies.get(index);
    if (!body || box.scrollHeight <= box.clientHeight) return;
    const [top, bottom] = [body.offsetTop - this.table.tHead.offsetHeight, body.offsetTop + body.offsetHeight];
    if (top < box.scrollTop) box.scrollTop = top;
    if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
  }
}

const showScale = (view) => {
  if (data.magnification !== null) {
    byId("magnification").textContent = `${figure(data.magnification * view.scale)}x`;
  }
  const length = scaleBar(view);
  if (!length) return;
  byId("bar").style.width = `${length.px}px`;
  byId("length").textContent = length.text;
};

// Where a place lies and what each method says of it.
const showPlace = ([x, y], kind, maps, state) => {
  const parts = [`${kind}x\u00a0${grouped(x)} y\u00a0${grouped(y)}\u00a0px`];
  const mm = (place) => ((place * data.slide.mpp) / 1000).toFixed(3);
  if (data.slide.mpp !== null) parts.push(`${mm(x)}, ${mm(y)}\u00a0mm`);
  const region = data.regions.find((found) => isInside(found.box, x, y));
  if (region) {
    parts.push(`region\u00a0${region.number}`);
    const [imageX, imageY] = [0, 1].map(
      (axis) => (([x, y][axis] - region.box[axis]) / region.box[axis + 2]) * region.image[axis],
    );
    for (const method of Object.keys(data.methods)) {
      const map = maps.of(region, method, state.classChoice);
      if (map) parts.push(`${data.methods[method]}\u00a0${figure(maps.valueAt(map, imageX, imageY))}`);
    }
  }
  byId("place").replaceChildren(
    ...parts.map((part) => Object.assign(document.createElement("span"), { textContent: part })),
  );
};

// The whole slide in a corner, with a frame around what the stage shows; a press goes there. It is away while the stage
// itself shows the whole slide.
class MiniMap {
  constructor(canvas, view) {
    Object.assign(this, { canvas, view, overview: null });
    const longest = Math.max(data.slide.width, data.slide.height);
    this.scale = canvas.width / longest;
    [canvas.width, canvas.height] = [data.slide.width, data.slide.height].map((side) =>
      Math.max(Math.round(side * this.scale), 12),
    );
    const go = (event) => {
      if (event.buttons === 0) return;
      canvas.setPointerCapture(event.pointerId);
      const box = canvas.getBoundingClientRect();
      const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      view.go(x * data.slide.width, y * data.slide.height, view.scale);
    };
    canvas.addEventListener("pointerdown", go);
    canvas.addEventListener("pointermove", go);
  }

  paint() {
    this.canvas.hidden = this.view.isWhole;
    const context = this.canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.overview) context.drawImage(this.overview, 0, 0, this.canvas.width, this.canvas.height);
    const [left, top] = this.view.level0From(0, 0).map((place) => place * this.scale);
    const [right, bottom] = this.view
      .level0From(this.view.width, this.view.height)
      .map((place) => place * this.scale);
    const [x0, y0] = [Math.max(left, 1.5), Math.max(top, 1.5)];
    const [x1, y1] = [Math.min(right, this.canvas.width - 1.5), Math.min(bottom, this.canvas.height - 1.5)];
    context.strokeStyle = "#0b5a94";
    context.lineWidth = 3;
    context.strokeRect(x0, y0, Math.max(x1 - x0, 4), Math.max(y1 - y0, 4));
  }
}
