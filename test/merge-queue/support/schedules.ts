/** Of all property tests of merge queues: the same schedules in every run, named by fast-check when one fails. */
export const propertySeed = 20_261_121;
