// Swaps each static chart for the interactive one, once that has been drawn.
(() => {
  "use strict";
  if (typeof vegaEmbed !== "function") return;
  const refuse = () => Promise.reject(new Error("nothing is fetched"));
  const loader = { load: refuse, sanitize: refuse, http: refuse, file: refuse };
  const options = { ast: true, actions: false, renderer: "svg", mode: "vega-lite", loader };

  const upgrade = async (holder) => {
    const source = document.getElementById(holder.dataset.spec);
    if (!source) return;
    try {
      const stage = document.createElement("div");
      await vegaEmbed(stage, JSON.parse(source.textContent), options);
      const drawing = stage.querySelector("svg");
      if (!drawing) return;
      const width = drawing.getAttribute("width"), height = drawing.getAttribute("height");
      if (!drawing.hasAttribute("viewBox") && width && height) {
        drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
      }
      holder.replaceChildren(stage);
      holder.dataset.live = "yes";
    } catch (error) {
      holder.dataset.live = "no";
    }
  };

  const start = () => {
    const holders = document.querySelectorAll(".chart[data-spec]");
    if (typeof IntersectionObserver !== "function") {
      holders.forEach(upgrade);
      return;
    }
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        seen.unobserve(entry.target);
        upgrade(entry.target);
      }
    }, { rootMargin: "600px" });
    holders.forEach((holder) => seen.observe(holder));
  };

  // text is measured with the page's own font
  (document.fonts ? document.fonts.ready : Promise.resolve()).then(start, start);
})();
