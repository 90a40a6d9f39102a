import { setupWith } from '../database-server.ts';
import { startEmbedded } from '../local-server.ts';
import { withPgBouncer } from '../pgbouncer.ts';

export default setupWith(async () => withPgBouncer(await startEmbedded()));
