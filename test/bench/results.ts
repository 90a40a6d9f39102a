import { fourDigits, median } from './statistics.ts';

export interface Result {
  readonly measure: string;
  readonly contender: string;
  readonly unit: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** Rounds it was measured in, the one that warms up not counted. */
  readonly runs: number;
}

/** What all rounds of all measures found. */
export class Results {
  readonly #runs = new Map<string, { readonly measure: string; contender: string; unit: string; values: number[] }>();

  add(measure: string, contender: string, unit: string, value: number): void {
    const key = JSON.stringify([measure, contender]);
    const runs = this.#runs.get(key) ?? { measure, contender, unit, values: [] };
    this.#runs.set(key, runs);
    runs.values.push(value);
  }

  list(): Result[] {
    return [...this.#runs.values()].map(({ measure, contender, unit, values }) => ({
      measure,
      contender,
      unit,
      median: fourDigits(median(values)),
      min: fourDigits(Math.min(...values)),
      max: fourDigits(Math.max(...values)),
      runs: values.length,
    }));
  }
}
