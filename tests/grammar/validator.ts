/** Ajv with the formats that masks enforce. */
import { isIPv4, isIPv6 } from 'node:net';
import { Ajv2020 } from 'ajv/dist/2020.js';

export const ajv = new Ajv2020({ strict: false, allErrors: true });
const day = (s: string) => /^\d{4}-\d\d-\d\d$/.test(s) && new Date(`${s}T00:00:00Z`).toISOString().startsWith(s);
const time = (s: string) => /^([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(z|[+-]\d\d:\d\d)$/i.test(s);
ajv.addFormat('date', day);
ajv.addFormat('time', time);
ajv.addFormat('date-time', (s) => day(s.slice(0, 10)) && /t/i.test(s[10]) && time(s.slice(11)) && !Number.isNaN(Date.parse(s)));
ajv.addFormat('uuid', /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i);
ajv.addFormat('ipv4', isIPv4);
ajv.addFormat('ipv6', isIPv6);
ajv.addFormat('email', /^[^\s@"]+@[a-z0-9-]+(\.[a-z0-9-]+)*$/i);
