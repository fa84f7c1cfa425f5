// What the page shows, as the Python side wrote it, and small helpers. Frames: level-0 pixels of the slide; image
// pixels of what the network saw of a region; CSS pixels of the screen.
const data = JSON.parse(document.getElementById("slide-data").textContent);
const byId = (id) => document.getElementById(id);
const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
const held = (value, low, high) => Math.min(Math.max(value, low), high);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const figure = (value, digits = 2) => (value === 0 ? "0" : Number(value.toPrecision(digits)).toString());
const grouped = (value) => Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, "\u2009");
const isInside = ([left, top, width, height], x, y) =>
  x >= left && x < left + width && y >= top && y < top + height;
