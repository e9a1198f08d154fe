/** A file that is served. */
export interface SiteFile {
  /** The binding of its folder, and its name there. */
  disk: string;
  name: string;
  bytes: number;
  etag: string;
  headers: Record<string, string>;
}
