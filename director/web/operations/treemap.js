/** Treemap: rectangles in proportion to weights, as nearly square as can be (Bruls, Huizing, van Wijk, 2000). */

/**
 * The rectangles [x, y, width, height] of `weights`, which are more than 0 and fall, one after another in one array.
 * Together they fill the rectangle that is given.
 */
export function squarify(weights, x, y, width, height) {
  const rectangles = new Float64Array(weights.length * 4);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (!(total > 0) || width <= 0 || height <= 0) return rectangles;
  const scale = (width * height) / total;
  let left = { x, y, width, height };
  for (let start = 0; start < weights.length; ) {
    const { end, area } = rowOf(weights, start, scale, Math.min(left.width, left.height));
    left = placeRow(rectangles, weights, { start, end, area, scale }, left);
    start = end;
  }
  return rectangles;
}

/** As many of the next weights as make the worst rectangle of a row along `side` better. */
function rowOf(weights, start, scale, side) {
  const largest = weights[start] * scale;
  let area = largest;
  let worst = ratio(area, largest, largest, side);
  let end = start + 1;
  for (; end < weights.length; end++) {
    const next = weights[end] * scale;
    const then = ratio(area + next, largest, next, side);
    if (then > worst) break;
    area += next;
    worst = then;
  }
  return { end, area };
}

const ratio = (area, largest, least, side) => {
  const square = side * side;
  return Math.max((square * largest) / (area * area), (area * area) / (square * least));
};

/** Place a row along the shorter side; what is left after it. */
function placeRow(rectangles, weights, { start, end, area, scale }, { x, y, width, height }) {
  const isColumn = width >= height;
  const depth = area / (isColumn ? height : width);
  let along = isColumn ? y : x;
  for (let i = start; i < end; i++) {
    const length = (weights[i] * scale) / depth;
    rectangles.set(isColumn ? [x, along, depth, length] : [along, y, length, depth], i * 4);
    along += length;
  }
  return isColumn ? { x: x + depth, y, width: width - depth, height } : { x, y: y + depth, width, height: height - depth };
}
