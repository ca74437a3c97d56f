"""What runs in the page: gives an input event, then looks at each frame until the picture is there."""

_FRAME = "const frame = () => new Promise(requestAnimationFrame);"

# [name of the knob, moves] -> milliseconds of each move. The title names the map that is painted.
KNOB = (
    """async ([name, moves]) => {"""
    + _FRAME
    + """
  const title = () => [...document.querySelectorAll('.lw-title small')].at(-1).textContent;
  const sliders = [...document.querySelectorAll('.widget-slider')];
  const slider = sliders.filter(one => one.textContent.includes(name)).at(-1);
  const handle = slider.querySelector('.noUi-handle');
  const shown = () => Number(title().match(new RegExp(name + ' (\\\\d+)'))[1]);
  const times = [];
  let key = 'ArrowRight';
  for (let i = 0; i < moves; i++) {
    if (shown() === 7) key = 'ArrowLeft';
    if (shown() === 0) key = 'ArrowRight';
    const wanted = shown() + (key === 'ArrowRight' ? 1 : -1);
    const start = performance.now();
    handle.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
    while (shown() !== wanted) {
      await frame();
      if (performance.now() - start > 10000) throw new Error('no answer');
    }
    await frame();
    times.push(performance.now() - start);
    await new Promise(done => setTimeout(done, 60));
  }
  return times;
}"""
)

# moves -> milliseconds from a pointer event to the frame that shows the new sentence.
HOVER = (
    """async moves => {"""
    + _FRAME
    + """
  const map = [...document.querySelectorAll('.lw-map')].at(-1);
  const sentence = () => [...document.querySelectorAll('.lw-sentence')].at(-1).textContent;
  const box = map.getBoundingClientRect();
  const times = [];
  for (let i = 0; i < moves; i++) {
    const before = sentence();
    const start = performance.now();
    const place = {clientX: box.left + 120 + i, clientY: box.top + 300 + i, bubbles: true};
    map.dispatchEvent(new PointerEvent('pointermove', place));
    while (sentence() === before && performance.now() - start < 2000) await frame();
    times.push(performance.now() - start);
    await frame();
  }
  return times;
}"""
)

# [text, edits] -> for each edit the milliseconds to the busy line (or null) and to the painted new text.
EDIT = (
    """async ([text, edits]) => {"""
    + _FRAME
    + """
  const input = document.querySelector('.widget-text input');
  const status = document.querySelector('.lw-status');
  const out = [];
  for (let i = 0; i < edits; i++) {
    const mark = ' zebra' + i;
    input.value = text + mark;
    input.dispatchEvent(new Event('input', {bubbles: true}));
    const start = performance.now();
    let busy = null;
    input.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', keyCode: 13, bubbles: true}));
    input.dispatchEvent(new Event('change', {bubbles: true}));
    while (!document.querySelector('.lw-strip').textContent.endsWith(mark)) {
      if (busy === null && status.dataset.state === 'busy') busy = performance.now() - start;
      await frame();
      if (performance.now() - start > 30000) throw new Error('no answer');
    }
    await frame();
    out.push({busy, painted: performance.now() - start});
    await new Promise(done => setTimeout(done, 300));
  }
  return out;
}"""
)

# moves -> milliseconds from a key that zooms or moves the view to the picture of the new tile.
VIEW_MOVE = (
    """async moves => {"""
    + _FRAME
    + """
  const map = document.querySelector('.lw-map');
  const canvas = map.querySelector('canvas');
  const context = canvas.getContext('2d');
  const picture = () => {
    const data = new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    let hash = 0;
    for (let i = 0; i < data.length; i++) hash = (hash * 31 + data[i]) | 0;
    return hash;
  };
  const settle = async () => {
    let [last, same] = [picture(), 0];
    while (same < 40) {
      await frame();
      const now = picture();
      same = now === last ? same + 1 : 0;
      last = now;
    }
    return last;
  };
  map.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowUp', bubbles: true}));
  const times = [];
  for (let i = 0; i < moves; i++) {
    let last = await settle();
    const start = performance.now();
    let changed = start;
    const key = i % 8 < 4 ? '+' : '-';
    map.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
    while (performance.now() - changed < 700) { // the last change of the picture is the new tile's
      await frame();
      const now = picture();
      if (now !== last) { last = now; changed = performance.now(); }
    }
    times.push(changed - start);
  }
  return times;
}"""
)
