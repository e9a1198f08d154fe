// A row of a plain matrix in kernel layout; those of other formats are generated.

/** Row r of 8 of a group: [K][8] */
export function embedF32(y: usize, group: usize, r: i32, K: i32): void {
  let w = group + (<usize>r << 2);
  for (const end = w + (<usize>K << 5); w < end; w += 32, y += 4) f32.store(y, f32.load(w));
}
