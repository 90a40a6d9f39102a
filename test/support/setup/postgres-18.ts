import { setupWith } from '../database-server.ts';
import { isDockerWanted, startContainer } from '../docker-server.ts';
import { startEmbedded } from '../local-server.ts';

export default setupWith(async () => ((await isDockerWanted()) ? startContainer() : startEmbedded()));
