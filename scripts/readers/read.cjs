// node read.cjs READER FILE...: a line of JSON for each file, with the variables
// it gave in base64. The libraries are those of $NODE_PATH.
const fs = require('fs')
const path = require('path')

const library = (name) => require(require.resolve(name, { paths: [process.env.NODE_PATH] }))
const before = { ...process.env }

// Loaders that write into the environment must find it as it was.
function reset() {
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name]
}

function checked(result) {
  if (result.error) throw result.error
  return result.parsed
}

const dotenv = (name) => (file) =>
  checked(library(name).config({ path: file, processEnv: {}, quiet: true }))

const expanded = (name, expand) => (file) =>
  library(expand).expand({ parsed: dotenv(name)(file), processEnv: {} }).parsed

const quiet = { info() {}, warn() {}, error() {} }

const readers = {
  dotenv16: dotenv('dotenv16'),
  dotenv17: dotenv('dotenv17'),
  dotenv18: dotenv('dotenv18'),
  expand11: expanded('dotenv16', 'expand11'),
  expand12: expanded('dotenv17', 'expand12'),
  expand1000: expanded('dotenv18', 'expand1000'),
  'dotenv-flow': (file) => library('dotenv-flow').parse(file),
  dotenvx(file) {
    const into = {}
    library('@dotenvx/dotenvx').config({ path: file, processEnv: into, quiet: true, logLevel: 'error' })
    return into
  },
  'env-cmd': (file) => library('env-cmd').GetEnvVars({ envFile: { filePath: file } }),
  foreman: (file) => library('foreman/lib/envs').loadEnvs(file),
  loadEnvFile(file) {
    process.loadEnvFile(file)
    return process.env
  },
  next: (file) => library('@next/env').loadEnvConfig(path.dirname(file), true, quiet, true).parsedEnv,
  async vite(file) {
    const vite = await import(path.join(process.env.NODE_PATH, 'vite/dist/node/index.js'))
    return vite.loadEnv('development', path.dirname(file), '')
  },
}

async function main([name, ...files]) {
  for (const method of Object.keys(console)) console[method] = () => {}
  for (const file of files) {
    const out = { file }
    try {
      reset()
      out.vars = {}
      for (const [key, value] of Object.entries((await readers[name](file)) ?? {})) {
        if (value !== before[key]) out.vars[key] = Buffer.from(String(value)).toString('base64')
      }
    } catch (e) {
      out.error = String(e?.message ?? e)
    }
    fs.writeSync(1, JSON.stringify(out) + '\n')
  }
  process.exit(0)
}

main(process.argv.slice(2))
