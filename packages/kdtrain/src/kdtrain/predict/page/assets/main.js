// The page at work: one state, one painting per frame, and every control an action on them.
const canvas = byId("slide");
const state = {
  classChoice: data.firstChoice.classIndex,
  method: data.firstChoice.method,
  scale: null,
  opacity: 0.6,
  mapShown: true,
  outlines: true,
  selected: null,
  pointer: null,
  printing: false,
};

let waiting = false;
const changed = () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    paintAll();
  });
};

const finest = data.regions.map((region) => region.display[0] / region.levels[0]?.reduction / region.box[2]);
const view = new View(data.slide, 4 * Math.max(0.25, ...finest.filter(Number.isFinite)), changed);
const tiles = new Tiles(changed);
const maps = new Maps(data.regions, data.colours);
const painter = new Painter(canvas, view, tiles, maps);
const mini = new MiniMap(byId("mini"), view);
const legend = new Legend(maps);
const table = byId("regions")
  ? new RegionTable(byId("regions"), (number) => show(regionOf(number)))
  : { select: () => {} };

const paintAll = () => {
  painter.paint(state);
  mini.paint();
  showScale(view);
  const place = state.pointer ? view.level0From(...state.pointer) : [view.x, view.y];
  showPlace(place, state.pointer ? "" : "centre ", maps, state);
};

const regionOf = (number) => data.regions.find((region) => region.number === number);
const say = (words) => { byId("said").textContent = words; };

const select = (region) => {
  state.selected = region;
  table.select(region ? region.number : null);
  if (region) say(`Region ${region.number}: ${region.said}`);
  changed();
};

const show = (region) => {
  select(region);
  view.showBox(region.box);
};

const neighbour = (step) => {
  if (data.regions.length === 0) return;
  const before = data.regions.indexOf(state.selected);
  const next = before < 0 ? (step > 0 ? 0 : -1) : before + step;
  show(data.regions.at(next % data.regions.length));
};

const setMap = () => {
  if (!byId("method")) return;
  state.method = byId("method").value;
  state.classChoice = Number(byId("class").value);
  maps.forgetPictures();
  state.scale = maps.scaleOf(state.method, state.classChoice);
  const ofOwn = state.classChoice === data.ownClass;
  const className = ofOwn ? "the predicted class" : data.classes[state.classChoice];
  legend.show(state.scale, state.method, className, data.regions.length);
  byId("none").hidden = Boolean(state.scale);
  changed();
};

const setOpacity = (percent) => {
  if (!byId("opacity")) return;
  byId("opacity").value = held(percent, 0, 100);
  state.opacity = Number(byId("opacity").value) / 100;
  byId("percent").textContent = `${byId("opacity").value}\u00a0%`;
  changed();
};

const turn = (name, id) => {
  const button = byId(id);
  if (!button) return;
  state[name] = !state[name];
  button.setAttribute("aria-pressed", String(state[name]));
  changed();
};

const zoom = (factor) => view.zoomAbout(view.width / 2, view.height / 2, factor, true);
const actions = {
  "zoom-in": () => zoom(1.6),
  "zoom-out": () => zoom(1 / 1.6),
  whole: () => view.showWhole(),
  next: () => neighbour(1),
  previous: () => neighbour(-1),
  map: () => turn("mapShown", "map"),
  outlines: () => turn("outlines", "outlines"),
  help: () => byId("keys").showModal(),
};
for (const [id, action] of Object.entries(actions)) byId(id)?.addEventListener("click", action);
byId("close").addEventListener("click", () => byId("keys").close());
byId("method")?.addEventListener("change", setMap);
byId("class")?.addEventListener("change", setMap);
byId("opacity")?.addEventListener("input", () => setOpacity(byId("opacity").value));

const pan = (x, y) => (far) => {
  const part = far ? 0.8 : 0.2;
  view.panBy(x * view.width * part, y * view.height * part, true);
};
listenToKeys(
  canvas.closest("section"),
  {
    "+": actions["zoom-in"],
    "=": actions["zoom-in"],
    "-": actions["zoom-out"],
    "0": actions.whole,
    n: actions.next,
    p: actions.previous,
    o: actions.map,
    r: actions.outlines,
    "[": () => setOpacity(Math.round(100 * state.opacity) - 10),
    "]": () => setOpacity(Math.round(100 * state.opacity) + 10),
    "?": actions.help,
  },
  {
    Home: actions.whole,
    ArrowLeft: pan(-1, 0),
    ArrowRight: pan(1, 0),
    ArrowUp: pan(0, -1),
    ArrowDown: pan(0, 1),
  },
);

new Pointers(canvas, view, {
  hover: (x, y) => {
    state.pointer = x === null ? null : [x, y];
    changed();
  },
  click: (x, y) => {
    const [atX, atY] = view.level0From(x, y);
    select(data.regions.find((region) => isInside(region.box, atX, atY)) ?? null);
  },
});

// Painted at once: a frame later, the old painting would be seen stretched.
new ResizeObserver(() => {
  view.resize(canvas.clientWidth, canvas.clientHeight);
  paintAll();
}).observe(canvas);
view.resize(canvas.clientWidth, canvas.clientHeight);
view.go(data.slide.width / 2, data.slide.height / 2, view.wholeScale);
setMap();
setOpacity(60);
createImageBitmap(new Blob([bytesOf(data.overview)], { type: "image/jpeg" })).then((bitmap) => {
  painter.overview = bitmap;
  mini.overview = bitmap;
  changed();
});

for (const [event, printing] of [["beforeprint", true], ["afterprint", false]]) {
  addEventListener(event, () => {
    state.printing = printing;
    paintAll();
  });
}

// What is shown, for tests and for a look from the browser's console; read only. Level-0 pixels, CSS pixels.
window.slideView = Object.freeze({
  get x() { return view.x; },
  get y() { return view.y; },
  get scale() { return view.scale; },
  get wholeScale() { return view.wholeScale; },
  get method() { return state.method; },
  get classIndex() { return state.classChoice; },
  get opacity() { return state.opacity; },
  get mapShown() { return state.mapShown; },
  get outlines() { return state.outlines; },
  get selected() { return state.selected ? state.selected.number : null; },
  get isStill() { return view.goal === null && !waiting && tiles.pending === 0 && painter.overview !== null; },
  get tilesKept() { return tiles.kept.size; },
  screenFrom: (x, y) => view.screenFrom(x, y),
});
