"use strict";
// The cards carry all data; this adds filters, sorting, keys and the enlarged view, and stores nothing.
(() => {
  const id = (name) => document.getElementById(name);
  const grid = id("slides"), dialog = id("large"), tip = id("tip");
  const cards = Array.from(grid.querySelectorAll(":scope > .card"));
  const words = cards.map((card) =>
    Array.from(card.querySelectorAll("h3, dd, .messages"), (part) => part.textContent).join(" ").toLowerCase());
  const place = new Map(cards.map((card, index) => [card, index]));
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const numeric = new Set(["megapixels", "regions", "covered", "focus", "ink", "folds", "bubbles"]);
  const mostFirst = new Set(["ink", "folds", "bubbles"]);
  const classes = new Map(cards.map((card) => [card, (card.dataset.classes || "").split("\n").filter(Boolean)]));
  let visible = cards, current = -1, sorted = "attention false";

  const inState = (card, state) =>
    state === "" || card.dataset.status === state || (state === "warning" && card.dataset.warnings !== "0") ||
    (state === "left" && card.dataset.left !== "0") || (state === "empty" && card.dataset.regions === "0");
  const chosen = (values, wanted) =>
    wanted === "" || (wanted === "none" ? values.length === 0 : values.includes(wanted.slice(1)));

  // A slide is beyond a limit by its worst region; one that was not measured is not.
  const beyond = (card, measure, limit) =>
    measure === "" || limit === "" || (card.dataset[measure] !== undefined &&
      (measure === "focus" ? card.dataset[measure] - limit < 0 : card.dataset[measure] - limit > 0));

  function compare(key) {
    if (key === "attention") return (a, b) => place.get(a) - place.get(b);
    return (a, b) => {
      const [x, y] = [a.dataset[key], b.dataset[key]];
      // A missing value sorts last in either direction: it is no smaller than any other.
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined) || place.get(a) - place.get(b);
      const order = numeric.has(key) ? x - y : collator.compare(x, y);
      const turned = (id("reverse").getAttribute("aria-pressed") === "true") !== mostFirst.has(key);
      return (turned ? -order : order) || place.get(a) - place.get(b);
    };
  }

  function arrange() {
    const key = id("sort").value, reversed = id("reverse").getAttribute("aria-pressed");
    if (sorted === `${key} ${reversed}`) return;
    sorted = `${key} ${reversed}`;
    const order = cards.slice().sort(compare(key));
    if (key === "attention" && reversed === "true") order.reverse();
    grid.append(...order);
  }

  function apply() {
    arrange();
    const wanted = id("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [state, split, label, measure, limit] =
      ["state", "split", "label", "measure", "limit"].map((name) => id(name).value);
    for (const card of cards) {
      const own = words[place.get(card)];
      card.hidden = !(inState(card, state) && chosen(card.dataset.split === undefined ? [] : [card.dataset.split], split)
        && chosen(classes.get(card), label) && beyond(card, measure, limit) && wanted.every((word) => own.includes(word)));
    }
    visible = Array.from(grid.children).filter((card) => !card.hidden);
    const all = `${cards.length} slide${cards.length === 1 ? "" : "s"}`;
    id("shown").textContent = visible.length === cards.length ? all : `${visible.length} of ${all}`;
    id("nothing").hidden = visible.length > 0;
  }

  let queued = false;
  function applySoon() {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; apply(); });
  }

  function toggle(button) {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    return on;
  }

  // The enlarged view. Lettering is set in screen pixels, so it is laid out again when the view changes size.
  function show(card) {
    current = visible.indexOf(card);
    id("large-name").textContent = card.querySelector("h3").textContent;
    id("large-place").textContent = current < 0 ? "" : `${current + 1} of ${visible.length}`;
    const frame = document.createElement("div");
    frame.className = "frame-large";
    frame.append(...Array.from(card.querySelectorAll(".frame > :not(.vh)"), (part) => part.cloneNode(true)));
    frame.querySelectorAll("title").forEach((title) => {
      title.closest(".region").dataset.tip = title.textContent;
      title.remove();
    });
    id("stage").replaceChildren(frame);
    const copies = (selector) => Array.from(card.querySelectorAll(selector), (part) => part.cloneNode(true));
    id("about").replaceChildren(...copies(".marks, .belongs, .facts, .messages"));
    id("numbers").replaceChildren(...copies(".regions"));
    for (const details of id("numbers").children) details.open = true;
    for (const part of [id("about"), id("numbers"), id("about").parentElement]) part.scrollTop = 0;
    tip.hidden = true;
    if (!dialog.open) dialog.showModal();
    addTags(frame);
    letter();
    history.replaceState(null, "", `#${card.id}`);
    for (const button of ["previous", "next"]) id(button).disabled = visible.length < 2;
  }

  function addTags(frame) {
    for (const region of frame.querySelectorAll(".region")) {
      const rect = region.querySelector("rect");
      const tag = document.createElementNS("http://www.w3.org/2000/svg", "text");
      tag.setAttribute("class", "tag");
      tag.setAttribute("x", "5");
      tag.setAttribute("y", "15");
      tag.dataset.x = rect.getAttribute("x");
      tag.dataset.y = rect.getAttribute("y");
      tag.textContent = region.dataset.region;
      frame.querySelector("svg").append(tag);
    }
  }

  function letter() {
    const svg = id("stage").querySelector("svg");
    const shown = svg && svg.getBoundingClientRect();
    if (!shown || !shown.width || !shown.height) return;
    const { width, height } = svg.viewBox.baseVal;
    const unit = Math.max(width / shown.width, height / shown.height);
    for (const text of svg.querySelectorAll("text")) {
      text.setAttribute("transform", `translate(${text.dataset.x} ${text.dataset.y}) scale(${unit})`);
    }
  }

  function step(by) {
    if (visible.length) show(visible[(Math.max(current, 0) + by + visible.length) % visible.length]);
  }

  function light(name) {
    for (const part of dialog.querySelectorAll("[data-region]")) part.classList.toggle("lit", part.dataset.region === name);
  }

  function hover(event) {
    const part = event.target.closest("[data-region]");
    light(part && part.dataset.region);
    tip.hidden = !(part && part.dataset.tip);
    if (tip.hidden) return;
    tip.textContent = part.dataset.tip;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 8))}px`;
  }

  function moveFocus(event) {
    const card = document.activeElement.closest(".card"), at = visible.indexOf(card);
    if (at < 0 || !document.activeElement.matches(".frame")) return;
    const top = visible[0].offsetTop;
    const columns = Math.max(1, visible.findIndex((other) => other.offsetTop > top));
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    const next = by && visible[at + by];
    if (next) { event.preventDefault(); next.querySelector(".frame").focus(); }
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (dialog.open) {
      if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
        event.preventDefault();
        step(event.key === "ArrowLeft" ? -1 : 1);
      }
    } else if (event.key === "/" && !event.target.matches("input, select")) {
      event.preventDefault();
      id("find").focus();
      id("find").select();
    } else if (event.key === "Escape" && event.target === id("find")) {
      id("find").value = "";
      apply();
    } else {
      moveFocus(event);
    }
  });

  grid.addEventListener("click", (event) => {
    const link = event.target.closest(".frame");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(link.closest(".card"));
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("mousemove", hover);
  dialog.addEventListener("mouseleave", () => { light(null); tip.hidden = true; });
  dialog.addEventListener("close", () => {
    history.replaceState(null, "", location.pathname + location.search);
    const frame = current >= 0 && visible[current] && visible[current].querySelector(".frame");
    if (frame) frame.focus();
  });
  id("previous").addEventListener("click", () => step(-1));
  id("next").addEventListener("click", () => step(1));
  id("close").addEventListener("click", () => dialog.close());
  new ResizeObserver(letter).observe(id("stage"));

  const controls = id("controls");
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.addEventListener("input", applySoon);
  controls.addEventListener("reset", () => {
    for (const name of ["reverse", "list"]) id(name).setAttribute("aria-pressed", "false");
    grid.classList.remove("list");
    setTimeout(apply);
  });
  id("reverse").addEventListener("click", () => { toggle(id("reverse")); apply(); });
  id("list").addEventListener("click", () => grid.classList.toggle("list", toggle(id("list"))));
  for (const count of document.querySelectorAll(".count[data-filter]")) {
    // A definition list may not hold a button around a term, so the number itself becomes the button.
    const value = count.querySelector("dd"), button = document.createElement("button");
    button.type = "button";
    button.textContent = value.textContent;
    button.setAttribute("aria-label", `Show the ${value.textContent} ${count.querySelector("dt").textContent}`);
    button.addEventListener("click", () => {
      controls.reset();
      setTimeout(() => { id("state").value = count.dataset.filter; apply(); grid.scrollIntoView(); });
    });
    value.replaceChildren(button);
  }

  controls.hidden = id("keys").hidden = false;
  apply();
  const asked = location.hash.startsWith("#slide-") && id(location.hash.slice(1));
  if (asked) show(asked);
})();
