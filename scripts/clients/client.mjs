// The clients of the TypeScript SDK, v1 and v2: plays the steps of a file against
// a server and prints what it got. Usage: node client.mjs v1|v2 MODE STEPS SERVER
// MODE is "legacy", "auto" or a revision to insist on; v1 has the first alone.
import fs from 'node:fs'

const [sdk, mode, file, server] = process.argv.slice(2)
const info = { name: `ts-sdk-${sdk}`, version: '1' }
let client, transport
if (sdk === 'v1') {
	const { Client } = await import('@modelcontextprotocol/sdk/client/index.js')
	const { StdioClientTransport } = await import('@modelcontextprotocol/sdk/client/stdio.js')
	client = new Client(info)
	transport = new StdioClientTransport({ command: server })
} else {
	const { Client } = await import('@modelcontextprotocol/client')
	const { StdioClientTransport } = await import('@modelcontextprotocol/client/stdio')
	const known = mode === 'legacy' || mode === 'auto'
	client = new Client(info, { versionNegotiation: { mode: known ? mode : { pin: mode } } })
	transport = new StdioClientTransport({ command: server })
}
client.onerror = e => { console.error('onerror:', e.message); process.exitCode = 1 }
await client.connect(transport)
const got = { tools: (await client.listTools()).tools.map(t => t.name), results: [], resources: {} }

const kept = {}
for (const { tool, args, keep } of JSON.parse(fs.readFileSync(file, 'utf8'))) {
	const text = JSON.stringify(args).replace(/\$(\w+)/g, (all, name) => kept[name] ?? all)
	let answer
	try {
		answer = await client.callTool({ name: tool, arguments: JSON.parse(text) })
	} catch (e) {
		got.results.push({ tool, error: true, value: e.message })
		continue
	}
	let value = answer.structuredContent ?? answer.content[0].text
	try { value = JSON.parse(value) } catch {} // where only the text has it
	got.results.push({ tool, error: answer.isError === true, value })
	for (const [name, member] of Object.entries(keep ?? {})) kept[name] = value[member]
}

for (const { uri } of (await client.listResources()).resources) {
	got.resources[uri] = (await client.readResource({ uri })).contents[0].text
}
await client.listResourceTemplates()
await client.close()
console.log(JSON.stringify(got))
