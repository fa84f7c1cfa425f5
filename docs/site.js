// What the theme's script makes, a screen reader shall tell apart, and keys shall reach: its bars of buttons beside
// code are no landmarks, and what scrolls sideways takes the focus and has a name.
(() => {
  const named = (box, name) => {
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", name);
  };
  const mend = () => {
    for (const bar of document.querySelectorAll(".md-code__nav:not([role])")) bar.setAttribute("role", "none");
    document.querySelectorAll(".md-typeset__scrollwrap").forEach((box, at) => {
      if (!box.hasAttribute("role")) named(box, `Table ${at + 1}`);
    });
    document.querySelectorAll(".md-typeset pre > code").forEach((box, at) => {
      if (!box.hasAttribute("tabindex") && box.scrollWidth > box.clientWidth) named(box, `Code ${at + 1}`);
    });
  };
  // The theme takes the focus of code away again when it measures it.
  const changes = { childList: true, subtree: true, attributeFilter: ["tabindex"] };
  new MutationObserver(mend).observe(document.body, changes);
  addEventListener("resize", mend);
  mend();
})();
