// Tiles are decoded when they come into view and forgotten, the longest unused first, when they take too much memory.
// What the painting at hand shows is never forgotten: it would only be decoded again, for ever.
class Tiles {
  static LARGEST_PIXELS = 64e6; // 4 bytes each; a 4k screen needs a third of it
  static AT_ONCE = 6;

  constructor(changed) {
    Object.assign(this, { changed, kept: new Map(), waiting: [], decoding: new Set(), pixels: 0 });
    this.shown = new Set();
  }

  get pending() {
    return this.decoding.size + this.waiting.filter(([key]) => !this.decoding.has(key)).length;
  }

  beginPainting() {
    this.shown.clear();
  }

  // What a painting lacks: {key: base64}. What an earlier one lacked and this one does not need is dropped.
  want(lacking) {
    this.waiting = [...lacking];
    this.decodeNext();
  }

  decodeNext() {
    while (this.decoding.size < Tiles.AT_ONCE && this.waiting.length > 0) {
      const [key, base64] = this.waiting.shift();
      if (!this.kept.has(key) && !this.decoding.has(key)) this.decode(key, base64);
    }
  }

  async decode(key, base64) {
    this.decoding.add(key);
    const bitmap = await createImageBitmap(new Blob([bytesOf(base64)], { type: "image/jpeg" }));
    this.decoding.delete(key);
    this.kept.set(key, bitmap);
    this.pixels += bitmap.width * bitmap.height;
    this.forget();
    this.decodeNext();
    this.changed();
  }

  get(key) {
    const bitmap = this.kept.get(key);
    this.shown.add(key);
    if (bitmap) {
      this.kept.delete(key);
      this.kept.set(key, bitmap); // a Map keeps the order of insertion: the last used comes last
    }
    return bitmap;
  }

  forget() {
    for (const [key, bitmap] of this.kept) {
      if (this.pixels <= Tiles.LARGEST_PIXELS) return;
      if (this.shown.has(key)) continue;
      this.pixels -= bitmap.width * bitmap.height;
      this.kept.delete(key);
      bitmap.close();
    }
  }
}
