/**
 * Tokens computed for each owner whose sequences are here. Who got least goes first: virtual token counters (Sheng et al., "Fairness in
 * Serving Large Language Models", OSDI 2024). An owner who comes starts level with the one who got least, so that nobody saves up.
 */
export class Shares {
  private readonly owners = new Map<string, { served: number; sequences: number }>();

  enter(owner: string): void {
    const known = this.owners.get(owner);
    if (known) known.sequences++;
    else {
      const least = Math.min(...[...this.owners.values()].map((o) => o.served));
      this.owners.set(owner, { served: Number.isFinite(least) ? least : 0, sequences: 1 });
    }
  }

  leave(owner: string): void {
    const known = this.owners.get(owner);
    if (known && --known.sequences === 0) this.owners.delete(owner);
  }

  charge(owner: string, tokens: number): void {
    const known = this.owners.get(owner);
    if (known) known.served += tokens;
  }

  served(owner: string): number {
    return this.owners.get(owner)?.served ?? 0;
  }

  /** Those of who got least first; else they stay in order. */
  sorted<T extends { readonly owner: string }>(list: readonly T[]): readonly T[] {
    if (this.owners.size < 2 || list.length < 2) return list;
    return [...list].sort((a, b) => this.served(a.owner) - this.served(b.owner));
  }
}
