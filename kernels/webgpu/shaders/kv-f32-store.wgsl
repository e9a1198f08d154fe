// One head of a token into an f32 page: K [d][16], V [16][d].
// Ladder: 1. (here) a value a thread. For models whose pages are f32, which are small.
fn storeHead(at: u32, j: u32, isValue: bool, lid: u32) {
  for (var i = lid; i < p.d; i += 64u) {
    let offset = select(i * 16u + j, 16u * p.d + j * p.d + i, isValue);
    atomicStore(&pages[at + offset], bitcast<u32>(xs[i]));
  }
}
