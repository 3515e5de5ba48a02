// The camera's clock: what is drawn is read back, what is damaged is never taken for a time.

import assert from "node:assert/strict";
import { test } from "node:test";
import { AREA, COLUMNS, decode, encode, ROWS } from "../../tests/browser/lib/clock-code.mjs";

/** The picture of a code, black at `black` and white at `white`. */
function picture(rows, black = 16, white = 235) {
  return (x, y) => {
    const column = Math.floor(((x - AREA.left) / AREA.width) * COLUMNS);
    const row = Math.floor(((y - AREA.top) / AREA.height) * ROWS);
    return (rows[row] >> (COLUMNS - 1 - column)) & 1 ? white : black;
  };
}

test("a time that is drawn is read back, also pale and across the wrap of 32 bits", () => {
  const wrap = 418 * 2 ** 32;
  for (const time of [1_795_000_000_123, wrap - 1, wrap, wrap + 5]) {
    assert.equal(decode(picture(encode(time)), time + 900), time);
    assert.equal(decode(picture(encode(time), 60, 170), time + 900), time);
  }
});

test("a picture without a code is no time", () => {
  assert.equal(decode(() => 128, 0), null);
  assert.equal(decode((x) => x * 255, 0), null);
});

test("any one cell read wrongly is noticed", () => {
  const time = 1_795_000_000_123;
  for (let row = 0; row < ROWS; row += 1) {
    for (let column = 0; column < COLUMNS; column += 1) {
      const rows = encode(time);
      rows[row] ^= 1 << column;
      assert.equal(decode(picture(rows), time), null, `row ${row}, column ${column}`);
    }
  }
});
