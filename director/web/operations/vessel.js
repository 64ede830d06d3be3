/** Vessel: a node's rooms on a canvas. Its height is the load, to one scale for all nodes; a line marks the bound.
 *
 * A room's area is what it counts for (the load), and the part of it that is filled is its members: so members can be
 * compared by their filled areas everywhere, whatever else is held for a room.
 */
import { squarify } from "./treemap.js";

const GAP = 1;
const LABEL_WIDTH = 58;
const LABEL_HEIGHT = 18;
const TWO_LINES = 33;
const PAD = 5;
const HEADROOM = 1.04;

/** The colours and fonts of vessels, as the style sheet has them now. */
export function themeOf(element) {
  const style = getComputedStyle(element);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    tile: color("tile"),
    filled: color("tile-filled"),
    text: color("tile-text"),
    moving: color("tile-moving"),
    movingFilled: color("tile-moving-filled"),
    movingText: color("tile-moving-text"),
    still: color("tile-still"),
    stillFilled: color("tile-still-filled"),
    bound: color("bound"),
    over: color("danger"),
    chosen: color("ink"),
    paper: color("sheet"),
    font: style.getPropertyValue("--sans"),
  };
}

export class Vessel {
  #canvas;
  #context;
  #drawn = "";
  #layout = "";
  #rectangles = new Float64Array();
  #areas = [];
  #width = 0;
  #height = 0;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
  }

  /** The size in CSS pixels, from whoever lays the page out. */
  resize(width, height) {
    const scale = globalThis.devicePixelRatio || 1;
    this.#width = width;
    this.#height = height;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    this.#context.setTransform(scale, 0, 0, scale, 0, 0);
    this.#layout = this.#drawn = "";
  }

  /** Draw if anything has changed. `look` has {fullest, moving, chosen, theme, look}; `look.key` stands for the theme. */
  draw(node, { fullest, moving, chosen, theme, themeKey }) {
    const { areas } = node;
    const still = node.has_lapsed;
    const tops = `${this.#top(node.load, fullest)} ${node.limit === null ? "-" : this.#top(node.limit, fullest)}`;
    const shown = areas.map(([room, , members]) => `${room} ${members}${moving.has(room) ? "m" : ""}`).join();
    const drawn = `${tops} ${themeKey} ${still} ${chosen?.room ?? ""} ${shown}`;
    if (drawn === this.#drawn || this.#width === 0) return;
    this.#drawn = drawn;
    this.#lay(areas, node, fullest);
    const pen = this.#context;
    pen.clearRect(0, 0, this.#width, this.#height);
    for (let i = 0; i < areas.length; i++) this.#drawRoom(i, { still, isMoving: moving.has(areas[i][0]), theme });
    if (chosen?.room) this.#drawChosen(chosen.room, theme);
    if (node.limit !== null) this.#drawBound(this.#top(node.limit, fullest), node.load > node.limit, theme);
  }

  /** The room at a place of the canvas, null if there is none: [room, node, members, load]. */
  areaAt(x, y) {
    const all = this.#rectangles;
    for (let i = 0; i < this.#areas.length; i++) {
      const [left, top, width, height] = all.subarray(i * 4, i * 4 + 4);
      if (x >= left && y >= top && x < left + width && y < top + height) return this.#areas[i];
    }
    return null;
  }

  #top(load, fullest) {
    return Math.round(this.#height * (1 - load / (fullest * HEADROOM)));
  }

  #lay(areas, node, fullest) {
    const top = Math.min(this.#top(node.load, fullest), this.#height - 6);
    const layout = `${top} ${areas.map(([room, , , load]) => `${room} ${load}`).join()}`;
    this.#areas = areas;
    if (layout === this.#layout) return;
    this.#layout = layout;
    const loads = areas.map(([, , , load]) => load);
    this.#rectangles = squarify(loads, 0, top, this.#width, this.#height - top);
  }

  #drawRoom(index, { still, isMoving, theme }) {
    const pen = this.#context;
    const [room, , members, load] = this.#areas[index];
    const [x, y, width, height] = this.#rectangles.subarray(index * 4, index * 4 + 4);
    const gap = Math.min(GAP, width / 4, height / 4);
    const [w, h] = [width - gap, height - gap];
    const filled = h * Math.min(1, members / load);
    pen.fillStyle = isMoving ? theme.moving : still ? theme.still : theme.tile;
    pen.fillRect(x, y, w, h);
    pen.fillStyle = isMoving ? theme.movingFilled : still ? theme.stillFilled : theme.filled;
    pen.fillRect(x, y + h - filled, w, filled);
    if (w < LABEL_WIDTH || h < LABEL_HEIGHT) return;
    pen.fillStyle = isMoving ? theme.movingText : theme.text;
    pen.textBaseline = "top";
    pen.font = `600 12px ${theme.font}`;
    pen.fillText(this.#cut(room, w - 2 * PAD), x + PAD, y + PAD);
    if (h < TWO_LINES) return;
    pen.font = `400 12px ${theme.font}`;
    pen.fillText(String(members), x + PAD, y + PAD + 15);
  }

  #cut(text, width) {
    const pen = this.#context;
    const whole = pen.measureText(text).width;
    if (whole <= width) return text;
    return `${text.slice(0, Math.max(1, Math.floor((text.length * width) / whole) - 1))}…`;
  }

  #drawChosen(room, theme) {
    const index = this.#areas.findIndex((area) => area[0] === room);
    if (index < 0) return;
    const [x, y, width, height] = this.#rectangles.subarray(index * 4, index * 4 + 4);
    const pen = this.#context;
    pen.lineWidth = 2;
    pen.strokeStyle = theme.paper;
    pen.strokeRect(x + 3, y + 3, Math.max(1, width - 7), Math.max(1, height - 7));
    pen.strokeStyle = theme.chosen;
    pen.strokeRect(x + 1, y + 1, Math.max(1, width - 3), Math.max(1, height - 3));
  }

  #drawBound(y, isOver, theme) {
    const pen = this.#context;
    const at = Math.max(1, y) + 0.5;
    pen.lineWidth = 3;
    pen.strokeStyle = theme.paper;
    pen.beginPath();
    pen.moveTo(0, at);
    pen.lineTo(this.#width, at);
    pen.stroke();
    pen.lineWidth = 1.5;
    pen.strokeStyle = isOver ? theme.over : theme.bound;
    pen.setLineDash([5, 3]);
    pen.stroke();
    pen.setLineDash([]);
  }
}
