// Where the reader looks: the level-0 point in the middle of the stage, and CSS pixels per level-0 pixel.
class View {
  constructor(slide, largestScale, changed) {
    Object.assign(this, { slide, largestScale, changed, width: 1, height: 1, goal: null });
    Object.assign(this, { x: slide.width / 2, y: slide.height / 2, scale: 1 });
  }

  get wholeScale() {
    return 0.96 * Math.min(this.width / this.slide.width, this.height / this.slide.height);
  }

  // The stage has another size: a whole slide stays whole, else the middle stays where it is, or is on its way to.
  resize(width, height) {
    const wasWhole = Math.abs(this.scale / this.wholeScale - 1) < 1e-6;
    Object.assign(this, { width, height });
    if (this.goal === null) this.go(this.x, this.y, wasWhole ? this.wholeScale : this.scale);
  }

  get isWhole() {
    const [left, top] = this.screenFrom(0, 0);
    const [right, bottom] = this.screenFrom(this.slide.width, this.slide.height);
    return left >= 0 && top >= 0 && right <= this.width && bottom <= this.height;
  }

  screenFrom(x, y) {
    return [(x - this.x) * this.scale + this.width / 2, (y - this.y) * this.scale + this.height / 2];
  }

  level0From(screenX, screenY) {
    return [this.x + (screenX - this.width / 2) / this.scale, this.y + (screenY - this.height / 2) / this.scale];
  }

  // Held to the slide and to scales that show something.
  allowed(x, y, scale) {
    const smallest = Math.min(this.wholeScale, this.largestScale);
    return [held(x, 0, this.slide.width), held(y, 0, this.slide.height), held(scale, smallest, this.largestScale)];
  }

  go(x, y, scale) {
    this.goal = null;
    [this.x, this.y, this.scale] = this.allowed(x, y, scale);
    this.changed();
  }

  // Go there in a fifth of a second, or at once for readers who want no motion.
  glide(x, y, scale) {
    if (calm.matches) return this.go(x, y, scale);
    const goal = this.allowed(x, y, scale);
    const from = [this.x, this.y, this.scale];
    this.goal = goal;
    let begun = null;
    const step = (now) => {
      if (this.goal !== goal) return;
      begun ??= now;
      const part = Math.min((now - begun) / 200, 1);
      const eased = 1 - (1 - part) ** 3;
      if (part === 1) return this.go(...goal);
      this.scale = from[2] * (goal[2] / from[2]) ** eased;
      [this.x, this.y] = [0, 1].map((axis) => from[axis] + (goal[axis] - from[axis]) * eased);
      this.changed();
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  // The point under a place on the screen stays there.
  zoomAbout(screenX, screenY, factor, gliding = false) {
    const [fromX, fromY, fromScale] = gliding && this.goal ? this.goal : [this.x, this.y, this.scale];
    const [awayX, awayY] = [screenX - this.width / 2, screenY - this.height / 2];
    const [, , scale] = this.allowed(0, 0, fromScale * factor);
    const [x, y] = [fromX + awayX / fromScale - awayX / scale, fromY + awayY / fromScale - awayY / scale];
    if (gliding) this.glide(x, y, scale);
    else this.go(x, y, scale);
  }

  panBy(screenX, screenY, gliding = false) {
    const [x, y, scale] = gliding && this.goal ? this.goal : [this.x, this.y, this.scale];
    const to = [x + screenX / scale, y + screenY / scale, scale];
    if (gliding) this.glide(...to);
    else this.go(...to);
  }

  showWhole() {
    this.glide(this.slide.width / 2, this.slide.height / 2, this.wholeScale);
  }

  showBox([left, top, width, height]) {
    const scale = 0.86 * Math.min(this.width / width, this.height / height);
    this.glide(left + width / 2, top + height / 2, scale);
  }
}

// A length of 1, 2 or 5 times a power of ten micrometres, at most 120 CSS pixels long; null where the scale is unknown.
const scaleBar = (view) => {
  if (data.slide.mpp === null) return null;
  const umPerScreen = data.slide.mpp / view.scale;
  const most = 120 * umPerScreen;
  const power = 10 ** Math.floor(Math.log10(most));
  const um = power * [5, 2, 1].find((times) => power * times <= most);
  return { px: um / umPerScreen, text: um >= 1000 ? `${figure(um / 1000)}\u00a0mm` : `${figure(um)}\u00a0\u00b5m` };
};
