// A clock that survives encoding: milliseconds since the Unix epoch (the low 32 bits, 49 days) as black and white
// cells. Drawn by the camera, read back from the frames on screen.
//
//   eight columns, six rows: one row of a fixed pattern, four of the time (highest bit first), one of a checksum
//
// Where it lies is said in fractions of the picture, so that any rung can be read.

export const COLUMNS = 8;
export const ROWS = 6;
export const AREA = { left: 0.04, top: 0.06, width: 0.44, height: 0.6 };
const PATTERN = 0b10110010;

/** The rows of the code for a time, one byte each, highest bit to the left. */
export function encode(milliseconds) {
  const low = Number(BigInt(Math.round(milliseconds)) & 0xffffffffn);
  const bytes = [low >>> 24, (low >>> 16) & 255, (low >>> 8) & 255, low & 255];
  return [PATTERN, ...bytes, checksum(bytes)];
}

/**
 * The time in a picture.
 * @param {(x: number, y: number) => number} brightness at fractions of the picture, 0 to 255
 * @param {number} near a time within 24 days of it, milliseconds
 * @returns {number | null} milliseconds since the epoch; null when there is no code that holds
 */
export function decode(brightness, near) {
  const { left, top, width, height } = AREA;
  const cell = (column, row) =>
    brightness(left + (width * (column + 0.5)) / COLUMNS, top + (height * (row + 0.5)) / ROWS);
  // Black and white as this rung has them, from the row that is known.
  const known = [...Array(COLUMNS).keys()].map((column) => cell(column, 0));
  const white = known.filter((_, column) => bit(PATTERN, column));
  const black = known.filter((_, column) => !bit(PATTERN, column));
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  if (mean(white) - mean(black) < 80) return null;
  const middle = (mean(white) + mean(black)) / 2;
  const rows = [...Array(ROWS).keys()].map((row) => {
    let byte = 0;
    for (let column = 0; column < COLUMNS; column += 1) byte = byte * 2 + (cell(column, row) > middle ? 1 : 0);
    return byte;
  });
  const bytes = rows.slice(1, 5);
  if (rows[0] !== PATTERN || rows[5] !== checksum(bytes)) return null;
  const low = bytes.reduce((value, byte) => value * 256 + byte, 0);
  const wrap = 2 ** 32;
  const time = Math.floor(near / wrap) * wrap + low;
  // `near` and the time may lie on two sides of a wrap.
  return [time - wrap, time, time + wrap].reduce((best, at) => (Math.abs(at - near) < Math.abs(best - near) ? at : best));
}

/** CRC-8, polynomial 0x07: a cell read wrongly is never taken for a time. */
function checksum(bytes) {
  let crc = 0xff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let at = 0; at < 8; at += 1) crc = crc & 0x80 ? ((crc << 1) ^ 0x07) & 0xff : crc << 1;
  }
  return crc;
}

function bit(byte, column) {
  return (byte >> (COLUMNS - 1 - column)) & 1;
}
