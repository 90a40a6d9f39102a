import { expect, it } from 'vitest';
import { freshDatabase } from '../support/database.ts';
import { startTestApp } from '../support/test-app.ts';
import { endsOf } from '../support/wrapper.ts';
import { example } from './example.ts';

it('the example of the README runs as it stands', async () => {
  await using database = await freshDatabase();
  await using app = await startTestApp(database);
  expect(await example(app.url)).toEqual(['deploying, token is current: true', 'leading, still may: true']);
  for (const queue of ['deploy/production', 'leader/mailer']) {
    expect(await endsOf(database, queue)).toMatchObject([{ state: 'released', outcome: 'success' }]);
  }
});
