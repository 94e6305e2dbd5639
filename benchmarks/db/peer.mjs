// The peer's side of the benchmark: the same data, queries and changes as ours.py, in the same order.
// One JSON command per line on stdin, one JSON answer per line on stdout.
import { createInterface } from 'node:readline'
import {
  BTreeIndex, count, createCollection, createLiveQueryCollection, createTransaction, eq, gt, sum,
} from '@tanstack/db'

const SEED = Number(process.env.BENCH_SEED)
const INDEXED = process.env.BENCH_PEER_INDEX === '1'
const SLICES = 10
const sliced = (count) => {
  const size = Math.ceil(count / SLICES)
  return Array.from({ length: Math.ceil(count / size) }, (_, i) => Math.min(size, count - i * size))
}
const now = () => Number(process.hrtime.bigint())

const mixed = (i, salt, modulus) => {
  let x = (i + Math.imul(salt + SEED, 0x9e3779b1)) >>> 0
  x = Math.imul(x ^ (x >>> 16), 0x45d9f3b) >>> 0
  x = Math.imul(x ^ (x >>> 16), 0x45d9f3b) >>> 0
  return ((x ^ (x >>> 16)) >>> 0) % modulus
}

const todo = (i, n) => ({
  id: `t${i}`, project_id: `p${mixed(i, 1, 100)}`, title: `todo ${i}`,
  priority: mixed(i, 2, 10), done: mixed(i, 3, 2) === 0, created: (i * 7919 + SEED) % n,
})
const comment = (i, n) => ({
  id: `c${i}`, todo_id: `t${mixed(i, 4, n)}`, author: `u${mixed(i, 5, 50)}`, text: `comment ${i}`,
  score: mixed(i, 6, 100),
})
const made = (make, size, n) => Array.from({ length: size }, (_, i) => make(i, n))

function fed(id, rows) {
  let ctx
  const collection = createCollection({
    id, getKey: (row) => row.id, startSync: true, gcTime: 0,
    ...(INDEXED ? { autoIndex: 'eager', defaultIndexType: BTreeIndex } : {}),
    sync: {
      sync: (given) => {
        ctx = given
        ctx.begin()
        for (const row of rows) ctx.write({ type: 'insert', value: row })
        ctx.commit()
        ctx.markReady()
      },
    },
  })
  return { collection, ctx }
}

const byProject = (q) => q.groupBy(({ t }) => t.project_id)
const QUERIES = {
  'filter': ({ todos }) => (q) => q.from({ t: todos }).where(({ t }) => gt(t.priority, 4)),
  'filter+order': ({ todos }) => (q) =>
    q.from({ t: todos }).where(({ t }) => gt(t.priority, 4)).orderBy(({ t }) => t.created),
  'window': ({ todos }) => (q) => q.from({ t: todos }).orderBy(({ t }) => t.created).limit(50),
  'group': ({ todos }) => (q) =>
    byProject(q.from({ t: todos }))
      .select(({ t }) => ({ project: t.project_id, rows: count(t.id), total: sum(t.priority) })),
  'inner join': ({ todos, comments }) => (q) =>
    q.from({ t: todos }).innerJoin({ c: comments }, ({ t, c }) => eq(t.id, c.todo_id)),
  'left join': ({ todos, comments }) => (q) =>
    q.from({ t: todos }).leftJoin({ c: comments }, ({ t, c }) => eq(t.id, c.todo_id)),
  'join+group': ({ todos, comments }) => (q) =>
    byProject(q.from({ t: todos }).innerJoin({ c: comments }, ({ t, c }) => eq(t.id, c.todo_id)))
      .select(({ t, c }) => ({ project: t.project_id, rows: count(c.id), total: sum(c.score) })),
}

const state = { delivered: 0, step: 0, queries: [], pending: [] }
const seen = (changes) => { state.delivered += changes.length }

async function open({ scenario, n }) {
  Object.assign(state, { scenario, n, make: QUERIES[scenario] })
  if (scenario === 'load' || scenario === 'memory') return {}
  state.rows = made(todo, n, n)
  const indexes = [...state.rows.keys()]
  state.accepted = indexes.filter((i) => state.rows[i].priority > 4)
  state.rejected = indexes.filter((i) => state.rows[i].priority <= 4)
  state.inside = indexes.filter((i) => state.rows[i].created < 50)
  state.outside = indexes.filter((i) => state.rows[i].created >= 50)
  state.todos = fed('todos', state.rows)
  if (scenario.includes('join')) {
    state.notes = made(comment, 2 * n, n)
    state.comments = fed('comments', state.notes)
  }
  state.sources = { todos: state.todos.collection, comments: state.comments?.collection }
  if (scenario === '100 queries') {
    for (let i = 0; i < 100; i++) {
      const query = createLiveQueryCollection({
        query: (q) => q.from({ t: state.sources.todos }).where(({ t }) => eq(t.project_id, `p${i}`)), startSync: true,
      })
      query.subscribeChanges(seen)
      await query.preload()
      state.queries.push(query)
    }
    return { size: state.queries.reduce((total, query) => total + query.size, 0) }
  }
  if (scenario === 'optimistic') state.todos.collection.subscribeChanges(seen)
  return { size: state.todos.collection.size }
}

async function first() {
  await state.queries.pop()?.cleanup()
  globalThis.gc()
  const began = now()
  const query = createLiveQueryCollection({ query: state.make(state.sources), startSync: true, gcTime: 0 })
  await query.preload()
  const took = now() - began
  const size = query.size
  query.subscribeChanges(seen)
  state.queries.push(query)
  return { ns: took, size }
}

function picked(list, step) {
  return list[mixed(step, 7, list.length)]
}

const CHANGES = {
  accepted: (step) => ({ ...state.rows[picked(state.accepted, step)], title: `changed ${step}` }),
  rejected: (step) => ({ ...state.rows[picked(state.rejected, step)], title: `changed ${step}` }),
  moved: (step) => ({ ...state.rows[picked(state.accepted, step)], created: mixed(step, 8, state.n) }),
  inside: (step) => ({ ...state.rows[picked(state.inside, step)], created: mixed(step, 8, 50) }),
  outside: (step) => ({ ...state.rows[picked(state.outside, step)], created: 50 + mixed(step, 8, state.n - 50) }),
  value: (step) => ({ ...state.rows[mixed(step, 7, state.n)], priority: 100 + (step % 1000) }),
  todo: (step) => ({ ...state.rows[mixed(step, 7, state.n)], title: `changed ${step}` }),
  comment: (step) => ({ ...state.notes[mixed(step, 7, 2 * state.n)], score: 100 + (step % 1000) }),
}

function sync({ change, count }) {
  const { ctx } = change === 'comment' ? state.comments : state.todos
  const slices = sliced(count).map((size) => Array.from({ length: size }, () => CHANGES[change](state.step++)))
  const times = []
  state.delivered = 0
  globalThis.gc()
  for (const rows of slices) {
    const began = now()
    for (const row of rows) {
      ctx.begin()
      ctx.write({ type: 'update', value: row })
      ctx.commit()
    }
    times.push((now() - began) / rows.length)
  }
  return { ns: times, delivered: state.delivered }
}

function optimistic({ change, count, pending }) {
  const todos = state.todos.collection
  const applied = (mutate) => {
    const tx = createTransaction({ autoCommit: false, mutationFn: async () => {} })
    tx.isPersisted.promise.catch(() => {})
    tx.mutate(mutate)
    return tx
  }
  while (state.pending.length < pending) {
    const row = { ...todo(0, state.n), id: `pending${state.pending.length}` }
    state.pending.push(applied(() => todos.insert(row)))
  }
  const times = []
  state.delivered = 0
  globalThis.gc()
  for (const size of sliced(count)) {
    let forward = 0, back = 0
    for (let i = 0; i < size; i++) {
      const step = state.step++
      const row = { ...todo(step, state.n), id: `new${step}` }
      const key = `t${mixed(step, 7, state.n)}`, title = `changed ${step}`
      const began = now()
      const tx = change === 'update'
        ? applied(() => todos.update(key, (draft) => { draft.title = title }))
        : applied(() => todos.insert(row))
      const between = now()
      tx.rollback()
      back += now() - between
      forward += between - began
    }
    times.push((change === 'rollback' ? back : forward) / size)
  }
  return { ns: times, delivered: state.delivered }
}

function load() {
  const rows = made(todo, state.n, state.n)
  globalThis.gc()
  const began = now()
  const { collection } = fed(`load${state.step++}`, rows)
  return { ns: now() - began, size: collection.size }
}

function memory() {
  globalThis.gc()
  globalThis.gc()
  const before = process.memoryUsage().heapUsed
  state.todos = fed('todos', made(todo, state.n, state.n))
  globalThis.gc()
  globalThis.gc()
  return { bytes: process.memoryUsage().heapUsed - before, size: state.todos.collection.size }
}

const COMMANDS = { open, first, sync, optimistic, load, memory }
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  process.stdout.write(JSON.stringify(await COMMANDS[command.do](command)) + '\n')
}
process.exit(0)
