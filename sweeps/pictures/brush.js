"use strict";
const picture = document.querySelector(".picture");
const svg = picture.querySelector("svg");
const form = document.querySelector("form");
const rows = [...document.querySelectorAll("tbody tr")];
// The lines are the first paths, the best trial's last, so that it lies on top.
const lines = [...svg.querySelectorAll(":scope > path")].slice(0, rows.length).reverse();
const places = rows.map((row) => row.dataset.p.split(" ").map(Number));
const top_ = Number(picture.dataset.top);
const height = Number(picture.dataset.height);
const axes = [...form.querySelectorAll("fieldset")].map((field, number) => {
  const [from, to] = field.querySelectorAll("input");
  const range = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  range.setAttribute("class", "range");
  range.setAttribute("x", Number(field.dataset.x) - 7);
  range.setAttribute("width", 14);
  svg.append(range);
  return { x: Number(field.dataset.x), number, from, to, range };
});

/** What a slider's place means: the value of the nearest trial, read out instead of a bare number. */
function nearest(axis, place) {
  let best = 0;
  places.forEach((own, row) => {
    if (Math.abs(own[axis.number] - place) < Math.abs(places[best][axis.number] - place)) best = row;
  });
  return rows[best].cells[axis.number + 1].textContent;
}

function show() {
  const kept = rows.map(() => true);
  for (const axis of axes) {
    const low = Math.min(axis.from.value, axis.to.value);
    const high = Math.max(axis.from.value, axis.to.value);
    const isWhole = low <= 0 && high >= 1;
    axis.range.setAttribute("y", top_ + height * (1 - high));
    axis.range.setAttribute("height", height * (high - low));
    axis.range.setAttribute("visibility", isWhole ? "hidden" : "visible");
    axis.from.setAttribute("aria-valuetext", nearest(axis, axis.from.value));
    axis.to.setAttribute("aria-valuetext", nearest(axis, axis.to.value));
    if (isWhole) continue;
    places.forEach((own, row) => {
      if (own[axis.number] < low || own[axis.number] > high) kept[row] = false;
    });
  }
  kept.forEach((isKept, row) => {
    rows[row].hidden = !isKept;
    lines[row].classList.toggle("out", !isKept);
  });
  document.querySelector("[role=status]").textContent = `${kept.filter(Boolean).length} of ${rows.length} trials`;
}

/** The pointer in the drawing's own units. */
function at(event) {
  return new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
}

function placeOf(point) {
  return Math.min(1, Math.max(0, 1 - (point.y - top_) / height));
}

let held = null;
svg.addEventListener("pointerdown", (event) => {
  const point = at(event);
  const axis = axes.find((one) => Math.abs(one.x - point.x) < 20);
  if (!axis) return;
  held = { axis, begin: placeOf(point) };
  svg.setPointerCapture(event.pointerId);
  event.preventDefault();
});
svg.addEventListener("pointermove", (event) => {
  if (!held) return;
  const end = placeOf(at(event));
  held.axis.from.value = Math.min(held.begin, end);
  held.axis.to.value = Math.max(held.begin, end);
  show();
});
svg.addEventListener("pointerup", (event) => {
  if (held && Math.abs(placeOf(at(event)) - held.begin) < 0.01) {
    held.axis.from.value = 0;
    held.axis.to.value = 1;
    show();
  }
  held = null;
});
svg.addEventListener("pointercancel", () => {
  held = null;
});
form.addEventListener("input", show);
form.addEventListener("reset", () => setTimeout(show));
show();
