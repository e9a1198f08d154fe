// Not -O3: it nests expressions (simplify-locals), which evaluates one sum to its end before the next and keeps the
// operands of all of them alive; the engine's register allocator then spills. These passes leave the order as written.
export const passes =
  'precompute,vacuum,optimize-instructions,remove-unused-brs,merge-locals,coalesce-locals,vacuum,remove-unused-names,merge-blocks';
