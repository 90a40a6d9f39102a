import { expect, it } from 'vitest';
import { freshDatabase } from '../support/database.ts';
import { startTestApp } from '../support/test-app.ts';
import { workerExample } from './worker-example.ts';

it('the example of a worker runs as it stands', async () => {
  await using database = await freshDatabase();
  await using app = await startTestApp(database);
  const seen = await workerExample(app.url);
  expect(seen.sort()).toEqual(['mail to ann', 'mail to bob', 'mail to cleo', 'welcome:bob is delayed']);
});
