// The page is whole without this: it remembers the theme, marks the section in view, and opens what is folded
// where a link or the printer needs it.
"use strict";
(() => {
  const theme = document.getElementById("theme");
  const key = "kdtrain-report-theme";
  try {
    theme.checked = localStorage.getItem(key) === "other";
    theme.addEventListener("change", () => localStorage.setItem(key, theme.checked ? "other" : ""));
  } catch {
    // Some browsers give a page from a file no storage; the box works all the same.
  }

  const links = new Map();
  for (const link of document.querySelectorAll("nav a")) links.set(link.hash.slice(1), link);
  const list = document.querySelector("nav ul");
  const mark = (name) => {
    for (const [id, link] of links) {
      if (id !== name) link.removeAttribute("aria-current");
      else if (!link.hasAttribute("aria-current")) {
        link.setAttribute("aria-current", "true");
        list.scrollLeft = link.parentElement.offsetLeft - list.clientWidth / 3;
      }
    }
  };
  const sections = [...document.querySelectorAll("main > section[id]")];
  const inView = () => {
    const line = window.innerHeight / 3;
    const above = sections.filter((section) => section.getBoundingClientRect().top < line);
    const atEnd = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 2;
    const here = atEnd && window.scrollY > 0 ? sections.at(-1) : above.at(-1);
    mark(here ? here.id : "top");
  };
  let waiting = false;
  addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; inView(); });
  }, { passive: true });
  inView();

  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const folded = target.closest("details") || target.querySelector(":scope > details.folded");
    if (folded && !folded.open) {
      folded.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", reveal);
  reveal();

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details.folded:not([open])")];
    for (const folded of opened) folded.open = true;
  });
  addEventListener("afterprint", () => { for (const folded of opened) folded.open = false; });
})();
