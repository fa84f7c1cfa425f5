// Mouse, touch, pen and keys, as actions: nothing here knows what is drawn.
class Pointers {
  static CLICK_PX = 5;
  static DOUBLE_MS = 350;
  static DOUBLE_PX = 30;

  // heard: {hover(x, y) or hover(null), click(x, y)}, in CSS pixels of the stage.
  constructor(canvas, view, heard) {
    Object.assign(this, { canvas, view, heard, down: new Map(), last: null, moved: 0 });
    canvas.addEventListener("pointerdown", (event) => this.pressed(event));
    canvas.addEventListener("pointermove", (event) => this.dragged(event));
    canvas.addEventListener("pointerup", (event) => this.released(event));
    canvas.addEventListener("pointercancel", (event) => this.left(event));
    canvas.addEventListener("pointerleave", () => heard.hover(null));
    canvas.addEventListener("wheel", (event) => this.wheeled(event), { passive: false });
  }

  placeOf(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  // Middle of all fingers, and their mean distance from it.
  hand() {
    const places = [...this.down.values()];
    const [x, y] = [0, 1].map((axis) => places.reduce((sum, place) => sum + place[axis], 0) / places.length);
    const spread = places.reduce((sum, place) => sum + Math.hypot(place[0] - x, place[1] - y), 0) / places.length;
    return { x, y, spread };
  }

  pressed(event) {
    if (event.button !== 0) return;
    if (this.down.size === 0) this.moved = 0;
    this.down.set(event.pointerId, this.placeOf(event));
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.classList.add("held");
  }

  dragged(event) {
    const place = this.placeOf(event);
    this.heard.hover(...place);
    if (!this.down.has(event.pointerId)) return;
    const before = this.hand();
    this.down.set(event.pointerId, place);
    const after = this.hand();
    this.moved += Math.hypot(after.x - before.x, after.y - before.y) + Math.abs(after.spread - before.spread);
    if (this.moved < Pointers.CLICK_PX) return;
    this.view.panBy(before.x - after.x, before.y - after.y);
    if (before.spread > 0) this.view.zoomAbout(after.x, after.y, after.spread / before.spread);
  }

  // Whether this finger was down.
  left(event) {
    const wasDown = this.down.delete(event.pointerId);
    if (this.down.size === 0) this.canvas.classList.remove("held");
    return wasDown;
  }

  released(event) {
    if (!this.left(event) || this.down.size > 0) return;
    if (this.moved >= Pointers.CLICK_PX) return;
    const [x, y] = this.placeOf(event);
    const again =
      this.last &&
      event.timeStamp - this.last.time < Pointers.DOUBLE_MS &&
      Math.hypot(x - this.last.x, y - this.last.y) < Pointers.DOUBLE_PX;
    this.last = again ? null : { x, y, time: event.timeStamp };
    if (again) this.view.zoomAbout(x, y, event.shiftKey ? 1 / 2.5 : 2.5, true);
    else this.heard.click(x, y);
  }

  wheeled(event) {
    event.preventDefault();
    const lines = [1, 16, 400][event.deltaMode];
    const turn = held(event.deltaY * lines, -240, 240);
    this.view.zoomAbout(...this.placeOf(event), Math.exp(-turn * (event.ctrlKey ? 0.01 : 0.0022)));
  }
}

// Keys that mean something wherever the focus is, but in fields, and keys that mean it on the slide alone.
const listenToKeys = (viewer, everywhere, onSlide) => {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("select, dialog, input")) return;
    const isOnSlide = event.target === document.body || viewer.contains(event.target);
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = everywhere[name] ?? (isOnSlide ? onSlide[name] : undefined);
    if (!action) return;
    event.preventDefault();
    action(event.shiftKey);
  });
};
