/** Facts: a list of terms and what holds for them, drawn anew only where something has changed. */
import { make } from "../line-view.js";

/** A term and its value: text, or a list of texts and elements; null leaves the term out. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== "");
  const rows = shown.map(([term, value]) => make("div", {}, make("dt", {}, term), make("dd", {}, ...[value].flat())));
  return make("dl", { className: "facts" }, ...rows);
}

/** The name of a node or a room, to be chosen. */
export const nameLink = (kind, name) => make("button", { type: "button", className: "name-link", data: { [kind]: name } }, name);

let pressed = null;
addEventListener("pointerdown", ({ target }) => (pressed = target), true);
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => (pressed = null));

/**
 * Let `root` show `children`; those that are as before are left alone. What is being pressed is not taken from under the
 * finger, so it may be shown a moment later; the focus stays at what has the same `data-key`.
 */
export function redraw(root, ...children) {
  if (root.contains(pressed)) return;
  const key = root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  if (root.childElementCount !== children.length) root.replaceChildren(...children);
  else {
    const former = [...root.children];
    children.forEach((child, index) => former[index].isEqualNode(child) || former[index].replaceWith(child));
  }
  if (key && !root.contains(document.activeElement)) root.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}
