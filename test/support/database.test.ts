import pg from 'pg';
import { expect, test } from 'vitest';
import { emptyDatabase } from './database.ts';

test('an empty database is its own, takes questions, and is gone after disposal', async () => {
  await using watcher = await emptyDatabase();
  let name: string;
  {
    await using database = await emptyDatabase();
    ({ name } = database);
    const { rows } = await database.query('SELECT current_database() AS name, $1::int AS number', [7]);
    expect(rows).toEqual([{ name, number: 7 }]);
    const second = await database.connect();
    expect((await second.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  }
  expect((await watcher.query('SELECT FROM pg_database WHERE datname = $1', [name])).rowCount).toBe(0);
});

test('the url works, pooled or not, also while another database is used', async () => {
  await using database = await emptyDatabase();

  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  expect((await client.query('SELECT current_database() AS name')).rows).toEqual([{ name: database.name }]);
  await client.end();
});
