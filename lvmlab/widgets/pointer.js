// A picture that can be touched: shows a PNG, tells the kernel where the pointer is, in parts of the
// picture, x to the right and y up. One message is under way at a time: while the kernel draws, a
// newer move replaces the one that waits, so the kernel never falls behind the hand.
function render({ model, el }) {
  const img = document.createElement("img");
  const waiting = [];
  let held = null; // number of the mark that is dragged, -1 for the bare picture
  let busy = false;
  let url = "";

  const show = () => {
    URL.revokeObjectURL(url);
    url = URL.createObjectURL(new Blob([model.get("value")], { type: "image/png" }));
    img.src = url;
  };
  const describe = () => { img.alt = model.get("alt"); };
  const next = () => {
    busy = waiting.length > 0;
    if (busy) model.send(waiting.shift());
  };
  const answered = (message) => { if (message.done) next(); };
  const tell = (kind, e) => {
    const box = img.getBoundingClientRect();
    const part = (v) => Math.min(Math.max(v, 0), 1);
    const [x, y] = [(e.clientX - box.left) / box.width, (box.bottom - e.clientY) / box.height];
    if (kind === "move" && waiting.at(-1)?.kind === "move") waiting.pop();
    waiting.push({ kind, x: part(x), y: part(y), target: held });
    if (!busy) next();
  };
  const under = (e, finger) => { // the nearest mark, -1 where only the picture is, else null
    const box = img.getBoundingClientRect();
    let [best, least] = [model.get("anywhere") ? -1 : null, finger ? 24 : 12]; // screen pixels
    model.get("targets").forEach(([x, y], k) => {
      const [right, down] = [box.left + x * box.width, box.bottom - y * box.height];
      const far = Math.hypot(e.clientX - right, e.clientY - down);
      if (far < least) [best, least] = [k, far];
    });
    return best;
  };
  const cursor = (k, hand) => { img.style.cursor = k === null ? "" : k < 0 ? "crosshair" : hand; };

  img.addEventListener("pointerdown", (e) => {
    const k = under(e, e.pointerType === "touch");
    if (e.button !== 0 || k === null) return;
    e.preventDefault();
    img.setPointerCapture(e.pointerId);
    cursor(held = k, "grabbing");
    tell("down", e);
  });
  img.addEventListener("pointermove", (e) => {
    if (held === null) cursor(under(e, false), "grab");
    else tell("move", e);
  });
  const end = (e) => {
    if (held !== null) tell("up", e);
    cursor(held = null);
  };
  img.addEventListener("pointerup", end);
  img.addEventListener("pointercancel", end);
  // A finger on a mark moves the mark; a finger beside it scrolls the page as ever.
  const scroll = (e) => { if (under(e.touches[0], true) !== null) e.preventDefault(); };
  img.addEventListener("touchstart", scroll, { passive: false });

  img.draggable = false;
  img.style.cssText = "width:100%;display:block;user-select:none";
  const follow = { "change:value": show, "change:alt": describe, "msg:custom": answered };
  for (const [event, heard] of Object.entries(follow)) model.on(event, heard);
  show();
  describe();
  el.append(img);
  return () => {
    for (const [event, heard] of Object.entries(follow)) model.off(event, heard);
    URL.revokeObjectURL(url);
  };
}

export default { render };
