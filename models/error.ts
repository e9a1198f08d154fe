/** The one error of everything that reads a model's files: says which key, tensor or shard, and at which byte. */
export class ModelFileError extends Error {
  override readonly name = 'ModelFileError';
  /** What the bytes belong to: a file, a metadata key, a tensor or a shard. */
  readonly where: string;
  /** Byte offset in the file, when one is known. */
  readonly offset: number | undefined;

  constructor(where: string, problem: string, offset?: number) {
    super(offset === undefined ? `${where}: ${problem}` : `${where}: ${problem} (at byte ${offset})`);
    this.where = where;
    this.offset = offset;
  }
}
