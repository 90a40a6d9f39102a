import { setupWith } from '../database-server.ts';
import { startDebian15 } from '../local-server.ts';

export default setupWith(startDebian15);
