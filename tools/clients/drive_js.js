// Uses an unmodified dd-trace 5 the way an application does; tools/clients/run.py starts it.
//
// Three web requests (one of them a 500 with an error), one sql statement, a data streams produce and
// consume pair 50 ms apart, Kafka offsets 42 (produced) and 40 (committed), DogStatsD through the Agent's
// proxy (100 increments of 2), and instrumentation telemetry: count 3, gauge 4.5, rate 12,
// distribution 7 and 9, one error log. Prints the two pathway hashes as JSON. DD_* variables configure it.
'use strict'

const path = require('node:path')
const modules = process.env.CLIENT_MODULES // .../node_modules
const ddTrace = path.join(modules, 'dd-trace')
const tracer = require(ddTrace).init()
const { manager } = require(path.join(ddTrace, 'packages/dd-trace/src/telemetry/metrics'))
const channel = require(path.join(modules, 'dc-polyfill')).channel('datadog:telemetry:log')

const wait = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds))

async function span (name, type, resource, tags, milliseconds) {
  const span = tracer.startSpan(name, { tags: { 'span.type': type, 'resource.name': resource, ...tags } })
  await wait(milliseconds)
  span.finish()
}

async function main (seconds) {
  for (const status of [200, 200, 500]) {
    const tags = { 'span.kind': 'server', 'http.status_code': String(status), ...(status >= 500 && { error: true }) }
    await span('web.request', 'web', 'GET /a', tags, 20)
  }
  await span('postgres.query', 'sql', 'SELECT * FROM users WHERE id = 42', {}, 5)

  const carrier = {}
  tracer.dataStreamsCheckpointer.setProduceCheckpoint('kafka', 'orders', carrier)
  await wait(50)
  const consumed = tracer.dataStreamsCheckpointer.setConsumeCheckpoint('kafka', 'orders', carrier)
  const internal = tracer._tracer
  internal.setOffset({ type: 'kafka_produce', topic: 'orders', partition: 1, offset: 42 })
  internal.setOffset({ type: 'kafka_commit', consumer_group: 'g1', topic: 'orders', partition: 1, offset: 40 })

  for (let i = 0; i < 100; i++) tracer.dogstatsd.increment('js.count', 2, { a: 'b' })
  tracer.dogstatsd.gauge('js.gauge', 1.5)
  tracer.dogstatsd.distribution('js.dist', 3)
  tracer.dogstatsd.distribution('js.dist', 5)

  const tracers = manager.namespace('tracers')
  tracers.count('my.count', ['a:b']).inc(3)
  tracers.gauge('my.gauge', []).mark(4.5)
  tracers.rate('my.rate', 10, []).track(12)
  tracers.distribution('my.dist', []).track(7)
  tracers.distribution('my.dist', []).track(9)
  channel.publish({ level: 'ERROR', message: 'boom happened', tags: 'k:v' })

  console.log(JSON.stringify({
    version: require(path.join(ddTrace, 'package.json')).version,
    // The first eight bytes of the context that travels with a message are the hash.
    produced: Buffer.from(carrier['dd-pathway-ctx-base64'], 'base64').readBigUInt64LE(0).toString(),
    consumed: consumed.hash.readBigUInt64LE(0).toString()
  }))
  await wait(seconds * 1000)
  process.exit(0)
}

main(Number(process.argv[2] || 25))
