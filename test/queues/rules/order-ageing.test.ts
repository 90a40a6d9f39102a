import { expect, test } from 'vitest';
import { ageLine } from '../../support/aged-line.ts';
import { freshDatabase } from '../../support/database.ts';

test.each(['claim', 'run'] as const)(
  'with a head start, no %s is passed by one that came more than the difference in priority times it later',
  async (kind) => {
    await using db = await freshDatabase();
    const { beyond, passes, furthestMs, grants } = await ageLine(await db.connect(), {
      ...{ kind, grants: 1500, headStartMs: 1000, limit: 10, seed: 1 },
    });
    expect(beyond).toEqual([]);
    expect(grants).toBe(1500);
    // The bound is met, and it is no further than it must be.
    expect(passes).toBeGreaterThan(100);
    expect(furthestMs).toBeGreaterThan(900);
    expect(furthestMs).toBeLessThanOrEqual(1000);
  },
);
