import type { Rig } from './rig.ts';

/** One figure of one turn. */
export interface Figure {
  readonly measure: string;
  readonly unit: string;
  readonly value: number;
}

export interface Contender {
  readonly name: string;
  /** One turn. Each turn of a contender gives the same figures. */
  turn(): Promise<readonly Figure[]>;
}

/**
 * Every contender has one turn in every round, in order, so that whatever else the machine does falls on all of them. The
 * first round warms up and is not counted. Who fails once is reported, gets no further turn, and none of its figures count.
 */
export async function interleave(rig: Rig, contenders: readonly Contender[]): Promise<void> {
  const { rounds } = rig.extent;
  let running = contenders.map((contender) => ({ contender, figures: [] as Figure[] }));
  for (let round = 0; round <= rounds; round++) {
    const finished: typeof running = [];
    for (const entry of running) {
      try {
        const figures = await entry.contender.turn();
        if (round > 0) entry.figures.push(...figures);
        finished.push(entry);
      } catch (error) {
        rig.say(`  ${entry.contender.name} failed: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    running = finished;
  }
  for (const { contender, figures } of running) {
    for (const { measure, unit, value } of figures) {
      if (Number.isFinite(value)) rig.results.add(measure, contender.name, unit, value);
    }
  }
}
