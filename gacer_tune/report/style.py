"""Looks and behaviour of the report page; light or dark as the reader's system is."""

STYLE = """
:root{color-scheme:light dark;--page:#f6f6f4;--surface:#fff;--ink:#1c1c1a;--quiet:#5f5e5a;--rule:#dddcd6;--idle:#efeeea;
--mark:#2a78d6;--t0:#2a78d6;--t1:#1baf7a;--t2:#eda100;--t3:#008300;--t4:#4a3aa7;--t5:#e34948;--t6:#e87ba4;--t7:#eb6834}
@media (prefers-color-scheme:dark){:root{--page:#151514;--surface:#1e1e1c;--ink:#f2f1ec;--quiet:#a8a69e;--rule:#3a3935;
--idle:#2a2927;--mark:#3987e5;--t0:#3987e5;--t1:#199e70;--t2:#c98500;--t3:#2f9a2f;--t4:#9085e9;--t5:#e66767;--t6:#d55181;
--t7:#d95926}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 16px 64px}
header{padding:8px 0 16px}
.number{font-size:56px;line-height:1;font-weight:650;margin:0;letter-spacing:-.02em}
h1{font-size:20px;font-weight:600;margin:10px 0 4px}
h2{font-size:17px;margin:0 0 12px}
h3{font-size:14px;font-weight:600;margin:18px 0 8px}
section{background:var(--surface);border:1px solid var(--rule);border-radius:8px;padding:18px 20px;margin:16px 0}
.quiet{color:var(--quiet);font-size:13px;margin:6px 0 0}
.scroll{overflow-x:auto}
.scroll svg{min-width:640px}
table{border-collapse:collapse;width:100%}
th{font-weight:600;color:var(--quiet);font-size:13px}
th,td{padding:6px 10px;border-bottom:1px solid var(--rule);text-align:left;overflow-wrap:anywhere;min-width:5em}
tbody tr:last-child td{border-bottom:0}
.numbers td,.numbers th{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.numbers td:first-child,.numbers th:first-child{text-align:left;white-space:normal;min-width:9em}
.numbers.plain tbody tr:last-child td{font-weight:400;border-top:0}
.numbers:not(.plain) tbody tr:last-child td{font-weight:650;border-top:2px solid var(--rule)}
.facts td:first-child{color:var(--quiet);white-space:nowrap;width:1%}
.swatch{display:inline-block;min-width:18px;height:18px;border-radius:4px;color:#fff;
font:600 12px/18px system-ui,sans-serif;text-align:center;margin-right:8px;text-shadow:0 0 2px #0009}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 18px;margin:0;padding:0}
.charts{display:flex;flex-wrap:wrap;gap:20px}
.below{margin-top:16px;max-width:520px}
figure{flex:1 1 400px;margin:0;min-width:0}
figcaption{font-size:13px;color:var(--quiet);margin-bottom:6px}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--ink);font:13px system-ui,sans-serif}
svg text.quiet{fill:var(--quiet);font-size:12px}
svg text.letter{fill:#fff;font-weight:600;font-size:12px;pointer-events:none;paint-order:stroke;stroke:#0006;
stroke-width:2px}
.lanes{display:flex;gap:12px}
.lanes ul{list-style:none;margin:0;padding:0;flex:none}
.lanes li{height:36px;font-size:13px;line-height:16px;white-space:nowrap}
.lanes li span{display:block;font-size:12px;margin:0;line-height:14px}
.frame{overflow-x:auto;overflow-y:hidden;flex:1;min-width:0}
svg.time{width:calc(100% * var(--zoom,1))}
svg.time text{transform:scaleX(calc(1 / var(--stretch,1)));transform-box:fill-box;transform-origin:center}
svg.time line,svg.time rect{vector-effect:non-scaling-stroke}
svg.time .fine,svg .hidden{display:none}
svg.time.wide .fine{display:inline}
.zoom{display:flex;gap:6px;align-items:center;margin:12px 0 0}
.zoom button{font:inherit;font-size:13px;min-width:32px;padding:2px 9px;border:1px solid var(--rule);border-radius:5px;
background:var(--page);color:var(--ink);cursor:pointer}
.zoom button:hover{border-color:var(--quiet)}
.zoom .quiet{margin:0 0 0 6px}
.grid{stroke:var(--rule)}
.idle{fill:var(--idle)}
.slice{stroke:var(--surface);stroke-width:.4}
.slice:hover{stroke:var(--ink);stroke-width:1.5}
.end{stroke:var(--ink);stroke-width:1.5}
.baseline{stroke:var(--quiet);stroke-dasharray:5 4;stroke-width:1.5}
.line{fill:none}
.choice{fill:var(--mark);stroke:var(--surface)}
.choice:hover{stroke:var(--ink)}
svg text.name{font-size:12px}
.best{fill:none;stroke:var(--mark);stroke-width:2.5;stroke-linejoin:round}
.trial{fill:var(--quiet);fill-opacity:.55}
.trial:hover{fill:var(--ink);fill-opacity:1}
#tip{position:fixed;z-index:1;max-width:360px;padding:8px 10px;border-radius:6px;background:var(--ink);
color:var(--page);font-size:13px;line-height:1.4;white-space:pre-line;overflow-wrap:anywhere;pointer-events:none}
"""

SCRIPT = """
const tip = document.getElementById("tip");
const show = event => {
  const found = event.target.closest ? event.target.closest("[data-tip]") : null;
  tip.hidden = !found;
  if (!found) return;
  tip.textContent = found.dataset.tip;
  const right = event.clientX + 14 + tip.offsetWidth < innerWidth;
  tip.style.left = (right ? event.clientX + 14 : Math.max(4, event.clientX - 14 - tip.offsetWidth)) + "px";
  tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 4)) + "px";
};
document.addEventListener("pointermove", show);
document.addEventListener("pointerdown", show);
document.addEventListener("pointerleave", () => { tip.hidden = true; });

// Both lanes are zoomed and scrolled together: the same moment stands below itself.
const frames = [...document.querySelectorAll(".frame")];
const level = document.getElementById("level");
let zoom = 1;
const draw = () => {
  for (const frame of frames) {
    const image = frame.firstElementChild;
    image.style.setProperty("--zoom", zoom);
    const stretch = image.clientWidth / image.viewBox.baseVal.width || 1;
    image.style.setProperty("--stretch", stretch);
    image.classList.toggle("wide", zoom >= 4);
    for (const letter of image.querySelectorAll(".letter"))
      letter.classList.toggle("hidden", letter.dataset.w * stretch < 12);
  }
  if (level) level.textContent = zoom > 1 ? zoom + " times as wide; scroll sideways" : "";
};
const zoomTo = (wanted, at) => {
  const frame = frames[0], share = frame ? (frame.scrollLeft + at) / frame.scrollWidth : 0;
  zoom = Math.min(32, Math.max(1, wanted));
  draw();
  for (const each of frames) each.scrollLeft = share * each.scrollWidth - at;
};
for (const button of document.querySelectorAll("[data-zoom]"))
  button.addEventListener("click", () => {
    const factor = Number(button.dataset.zoom);
    zoomTo(factor ? zoom * factor : 1, frames[0] ? frames[0].clientWidth / 2 : 0);
  });
for (const frame of frames) {
  frame.addEventListener("wheel", event => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoomTo(zoom * (event.deltaY < 0 ? 2 : 0.5), event.clientX - frame.getBoundingClientRect().left);
  }, {passive: false});
  frame.addEventListener("scroll", () => {
    for (const other of frames) if (other !== frame) other.scrollLeft = frame.scrollLeft;
  });
}
addEventListener("resize", draw);
draw();
"""
