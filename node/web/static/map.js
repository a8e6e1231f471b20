/** The map: a small force layout in SVG. It cools to rest, and elements are kept between looks. */

import { watch } from "./live.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 800, HEIGHT = 460, EDGE = 34;
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const svg = document.getElementById("map");
const lines = svg.appendChild(document.createElementNS(SVG, "g"));
const dots = svg.appendChild(document.createElementNS(SVG, "g"));
const nodes = new Map();
let heat = 0, frame = 0;

function make(name, parent, attributes = {}) {
  const element = parent.appendChild(document.createElementNS(SVG, name));
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Where a node begins: by its own key, so that a page opened twice looks alike. */
function place(id) {
  let hash = 2166136261;
  for (const letter of id) hash = Math.imul(hash ^ letter.charCodeAt(0), 16777619) >>> 0;
  const angle = (hash / 2 ** 32) * 2 * Math.PI;
  return { x: WIDTH / 2 + 150 * Math.cos(angle), y: HEIGHT / 2 + 110 * Math.sin(angle) };
}

function add(id, isSelf) {
  const group = make("g", dots);
  make("circle", group, { r: isSelf ? 13 : 9 });
  const text = make("text", group, { y: isSelf ? 30 : 25 });
  text.textContent = isSelf ? "this node" : `${id.slice(0, 8)}…`;
  const title = make("title", group);
  const at = isSelf ? { x: WIDTH / 2, y: HEIGHT / 2 } : place(id);
  const line = isSelf ? null : make("line", lines);
  nodes.set(id, { ...at, dx: 0, dy: 0, group, title, line, isSelf });
  heat = 1;
}

function remove(id) {
  const node = nodes.get(id);
  node.group.remove();
  node.line?.remove();
  nodes.delete(id);
  heat = Math.max(heat, 0.6);
}

function show({ self, nodes: known, table }) {
  document.getElementById("peers").innerHTML = table;
  const wanted = new Set([self, ...known.map((each) => each.id)]);
  for (const id of [...nodes.keys()]) if (!wanted.has(id)) remove(id);
  if (!nodes.has(self)) add(self, true);
  nodes.get(self).group.setAttribute("class", "self");
  nodes.get(self).title.textContent = `this node, ${self}`;
  for (const each of known) {
    if (!nodes.has(each.id)) add(each.id, false);
    const node = nodes.get(each.id);
    node.linked = each.linked;
    node.group.setAttribute("class", each.linked ? "linked" : "");
    node.line.setAttribute("class", each.linked ? "link" : "known");
    const trip = each.rtt === null ? "" : `, ${Math.round(each.rtt * 1000)} ms`;
    node.title.textContent = `${each.id}\n${each.address ?? "no address"}${trip}`;
  }
  svg.dataset.count = String(known.length);
  if (!frame) frame = requestAnimationFrame(step);
}

/** One step: all push each other apart, and each line wants its length. This node stays in the middle. */
function move() {
  const all = [...nodes.values()];
  const room = Math.sqrt((WIDTH * HEIGHT) / (all.length + 1)) * 0.5;
  for (const one of all) {
    if (one.isSelf) continue;
    for (const other of all) {
      if (one === other) continue;
      const x = one.x - other.x || 0.1, y = one.y - other.y || 0.1;
      const push = (room * room) / (x * x + y * y + 25);
      one.dx += x * push * 0.05;
      one.dy += y * push * 0.05;
    }
    const x = one.x - WIDTH / 2, y = (one.y - HEIGHT / 2) * 1.5;
    const distance = Math.hypot(x, y) || 1;
    const pull = ((one.linked ? 150 : 225) / distance - 1) * 0.12;
    one.dx += x * pull;
    one.dy += (y / 1.5) * pull;
  }
  for (const one of all) {
    if (!one.isSelf) {
      one.x = Math.min(WIDTH - EDGE, Math.max(EDGE, one.x + one.dx * heat));
      one.y = Math.min(HEIGHT - EDGE, Math.max(EDGE - 10, one.y + one.dy * heat));
    }
    one.dx = one.dy = 0;
  }
  heat *= 0.965;
}

function draw() {
  for (const one of nodes.values()) {
    one.group.setAttribute("transform", `translate(${one.x.toFixed(1)} ${one.y.toFixed(1)})`);
    if (!one.line) continue;
    one.line.setAttribute("x1", WIDTH / 2);
    one.line.setAttribute("y1", HEIGHT / 2);
    one.line.setAttribute("x2", one.x.toFixed(1));
    one.line.setAttribute("y2", one.y.toFixed(1));
  }
}

function step() {
  if (still) while (heat > 0.01) move();
  else move();
  draw();
  frame = heat > 0.01 ? requestAnimationFrame(step) : 0;
}

watch(["map"], (_, value) => show(value));
