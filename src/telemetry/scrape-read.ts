/** A scrape waits so long for the database at most; then it answers without the numbers that are kept there. */
const readMsMax = 1000;

/** Numbers that are read from the database at each scrape, so that every replica says the same. */
export class ScrapeRead<Numbers> {
  readonly #show: (numbers: Numbers | undefined) => void;
  #read: (() => Promise<Numbers>) | undefined;
  #refreshing: Promise<void> | undefined;

  /** `show` puts them into gauges; undefined: the database did not answer, so there are to be none. */
  constructor(show: (numbers: Numbers | undefined) => void) {
    this.#show = show;
  }

  /** Says where to read them; until then `refresh` does nothing. */
  readWith(read: () => Promise<Numbers>): void {
    this.#read = read;
  }

  /** Never throws, and never takes longer than a second. Scrapes that come together ask once. */
  refresh(): Promise<void> {
    return (this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = undefined)));
  }

  async #refresh(): Promise<void> {
    if (this.#read !== undefined) this.#show(await within(readMsMax, this.#read()));
  }
}

/** What the work comes to; undefined if it failed or took longer. */
async function within<Result>(ms: number, work: Promise<Result>): Promise<Result | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([work.catch(() => undefined), late]);
  } finally {
    clearTimeout(timer);
  }
}
