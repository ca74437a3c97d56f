// What runs in each page of `benchmarks.peers`: waits for the picture, then gives an input event and looks at each
// frame until the answer is in the page. One frame later the frame with the answer was committed.
"use strict";
window.bench = (() => {
  const frame = () => new Promise(requestAnimationFrame);
  const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const send = (target, event) => target.dispatchEvent(event);
  const mouse = (type, place = {}) => new MouseEvent(type, { bubbles: true, cancelable: true, ...place });

  /** Some rows of a canvas's pixels, as text to compare. */
  function pixels(canvas, heights) {
    const context = canvas.getContext("2d");
    return heights.map((y) => context.getImageData(0, Math.max(0, Math.round(y)), canvas.width, 1).data.join()).join();
  }

  /** The i-th place in the lower left of a box, where causal weights are; never in the cell of the one before. */
  function place(box, i) {
    const [across, down] = [(i * 0.618) % 1, (i * 0.382) % 1];
    return { clientX: box.left + box.width * (0.2 + 0.3 * across), clientY: box.top + box.height * (0.7 + 0.15 * down) };
  }

  // Each view: `ready` says whether its picture is there. `switch` and `hover` give the i-th input event and
  // return a function that says whether its answer is in the page.
  const heatmap = {
    ready: () => one(".lw-title small")?.textContent.startsWith("layer"),
    switch(i) {
      // Along a layer's 8 heads and back along the next layer's: never a head that was shown before.
      const key = i % 8 === 7 ? "}" : Math.floor(i / 8) % 2 ? "[" : "]";
      const title = one(".lw-title small");
      const before = title.textContent;
      send(one(".lw-map"), new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
      return () => title.textContent !== before;
    },
    hover(i) {
      const [map, sentence] = [one(".lw-map"), one(".lw-sentence")];
      const before = sentence.textContent;
      send(map, new PointerEvent("pointermove", { ...place(map.getBoundingClientRect(), i), bubbles: true }));
      return () => sentence.textContent !== before;
    },
  };

  const arcs = {
    ready: () => one("#vis line") !== null, // D3 makes them all before the next frame
    switch(i) {
      const [layers, before] = [one("#layer"), one("#vis svg")];
      layers.selectedIndex = (i + 1) % layers.options.length;
      send(layers, new Event("change", { bubbles: true }));
      return () => one("#vis svg") !== before && one("#vis line") !== null;
    },
    hover(i) {
      const tokens = all("#left text");
      const index = (7 * i + 1) % tokens.length;
      send(tokens[index], mouse("mouseover"));
      const background = all("#left .background")[index];
      return () => background.style.opacity === "1";
    },
  };

  const grid = {
    ready: arcs.ready,
    switch(i) {
      const heads = all(".attn_background");
      const title = () => one("text.detail")?.textContent;
      const before = title();
      send(heads[(i + 1) % heads.length].parentNode.lastElementChild, mouse("click"));
      return () => title() !== before;
    },
    hover(i) {
      const tokens = [...one("g.detail").querySelectorAll("text.token")]; // the left ones
      const index = (7 * i + 1) % tokens.length;
      send(tokens[index], mouse("mouseover"));
      const [here, other] = [index, index ? 0 : 1].map((row) => all(".attn-line-group")[row]);
      return () => here.style.opacity === "1" && other.style.opacity === "0";
    },
  };

  const zoomed = () => all("canvas").at(-1);
  const pattern = {
    ready() {
      const canvas = zoomed();
      if (!canvas?.width || !canvas.height) return false;
      const middle = canvas.getContext("2d").getImageData(canvas.width >> 1, canvas.height >> 1, 1, 1);
      return middle.data[3] > 0;
    },
    hover(i) {
      const canvas = zoomed();
      const box = canvas.getBoundingClientRect();
      const at = place(box, i);
      const y = ((at.clientY - box.top) * canvas.height) / box.height;
      const read = () => pixels(canvas, [y - 15, y - 30, y - 45]); // the tooltip stands above the pointer
      const before = read();
      send(canvas, mouse("mousemove", at));
      return () => read() !== before;
    },
  };
  const patterns = {
    ...pattern,
    switch(i) {
      const names = all("h4");
      const canvas = zoomed();
      const read = () => pixels(canvas, [0.3, 0.5, 0.7, 0.8].map((share) => share * canvas.height));
      const before = read();
      send(names[(i + 1) % names.length], mouse("click"));
      return () => read() !== before;
    },
  };

  const views = {
    AttentionHeatmap: heatmap,
    "BertViz head_view": arcs,
    "BertViz model_view": grid,
    "CircuitsVis attention_heads": patterns,
    "CircuitsVis attention_pattern": pattern,
  };

  /** Milliseconds from navigation until the picture is there and two frames later. */
  async function painted(view) {
    while (!views[view].ready()) await frame();
    await frame();
    await frame();
    return performance.now();
  }

  /** Milliseconds of each input, up to `most` of them and for about `budget` milliseconds together. */
  async function answers(view, input, most, budget) {
    const taken = [];
    const begin = performance.now();
    for (let i = 0; i < most && performance.now() - begin < budget; i++) {
      const start = performance.now();
      const answered = views[view][input](i);
      let there = false;
      while (!there && performance.now() - start < budget) {
        await frame();
        there = answered();
      }
      if (!there) throw new Error(`no answer to ${input}`);
      await frame();
      taken.push(performance.now() - start);
      await pause(60);
    }
    return taken;
  }

  return { painted, answers };
})();
