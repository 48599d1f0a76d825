// Prints the environment as env -0 does, in node, deno and bun.
import { writeSync } from 'node:fs'

const all = globalThis.Deno ? Deno.env.toObject() : process.env
writeSync(1, Object.entries(all).map(([name, value]) => `${name}=${value}\0`).join(''))
