// A second opinion on what the bridge wrote: node ajv.mjs SCHEMAS FILE. Each line of
// FILE, which `go test . -verdicts FILE` makes, is a value, the definition that it
// was held against and keepmum's verdict on it. ajv holds it against the same
// definition of the official schema. That a result was held against the definition
// of its method is checked too. Ends with 1 if a verdict differs.
import fs from 'node:fs'
import readline from 'node:readline'
import Ajv from 'ajv'
import Ajv2020 from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'

const [folder, file] = process.argv.slice(2)
const results = {
	initialize: 'InitializeResult', ping: 'EmptyResult', 'server/discover': 'DiscoverResult',
	'tools/list': 'ListToolsResult', 'tools/call': 'CallToolResult', 'resources/list': 'ListResourcesResult',
	'resources/templates/list': 'ListResourceTemplatesResult', 'resources/read': 'ReadResourceResult',
	'subscriptions/listen': 'SubscriptionsListenResult',
}
const documents = {}, compiled = {}

function validator(revision, definition) {
	const name = `${revision} ${definition}`
	if (compiled[name]) return compiled[name]
	if (!documents[revision]) {
		const schema = JSON.parse(fs.readFileSync(`${folder}/${revision}.json`, 'utf8'))
		// The published JSONValue leaves out null and fractions, against the text.
		if (schema.$defs?.JSONValue) schema.$defs.JSONValue = true
		const ajv = new (schema.$defs ? Ajv2020 : Ajv)({ strict: false })
		addFormats(ajv)
		ajv.addSchema(schema, revision)
		documents[revision] = { ajv, at: schema.$defs ? '$defs' : 'definitions' }
	}
	const { ajv, at } = documents[revision]
	return compiled[name] = ajv.compile({ $ref: `${revision}#/${at}/${definition}` })
}

const rows = {}
let differ = 0
for await (const line of readline.createInterface({ input: fs.createReadStream(file) })) {
	const { revision, method, definition, value, valid, made } = JSON.parse(line)
	const row = rows[revision] ??= { messages: 0, valid: 0, bare: 0, made: 0, 'made, invalid': 0, differ: 0 }
	const verdict = validator(revision, definition)(value)
	// Up to 2025-06-18 an error must have an id, also one about a line without any.
	const bare = !made && revision <= '2025-06-18' && value.error && (value.id ?? null) === null
	const right = verdict || bare && validator(revision, definition)({ ...value, id: 0 })
	const misplaced = definition.endsWith('Result') && results[method] !== definition
	row[made ? 'made' : 'messages']++
	if (!made && verdict) row.valid++
	if (bare) row.bare++
	if (made && !verdict) row['made, invalid']++
	if (verdict !== valid || misplaced || (!made && !right)) {
		row.differ++
		if (++differ <= 20) {
			console.error(`${revision} ${method} ${definition}: ours ${valid}, ajv ${verdict}`,
				JSON.stringify(value).slice(0, 400))
		}
	}
}
const names = ['messages', 'valid', 'bare', 'made', 'made, invalid', 'differ']
console.log('| revision | held against a definition | valid | errors without an id | ' +
	'made from them by one change | of these invalid | differ |\n|---|---|---|---|---|---|---|')
for (const revision of Object.keys(rows).sort()) {
	console.log(`| ${revision} | ${names.map(n => rows[revision][n]).join(' | ')} |`)
}
process.exit(differ > 0 || Object.keys(rows).length === 0 ? 1 : 0)
