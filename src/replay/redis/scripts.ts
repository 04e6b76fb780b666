import { createHash } from 'node:crypto';

/**
 * Lua scripts, each of which Redis runs as one atomic step. Every script is idempotent, so that it can be sent again after a
 * reply was lost with its connection.
 */

/** A script and the SHA-1 by which Redis knows it. */
export interface Script {
  readonly source: string;
  readonly sha1: string;
}

function script(source: string): Script {
  return { source, sha1: createHash('sha1').update(source).digest('hex') };
}

/** Takes or renews the lock. KEYS learner; ARGV holder, milliseconds. → [1], or [0, holder, milliseconds left]. */
export const claimLock = script(`
local holder = redis.call('GET', KEYS[1])
if not holder or holder == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return {1}
end
return {0, holder, redis.call('PTTL', KEYS[1])}`);

/** Releases the lock if `holder` has it. KEYS learner; ARGV holder. */
export const releaseLock = script(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1`);

/**
 * Begins a run, or resumes it. KEYS learner run transitions actors policy; ARGV holder, token, shared settings, label,
 * transitions recorded, '1' to discard an unfinished run of this name. → ['lost'] if another learner has the lock, ['resumed'],
 * ['started'], or ['unfinished', label, transitions]. Actors cannot insert anything before the first `reportProgress`.
 */
export const attachLearner = script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'lost'} end
local token, finished, inserted, label = unpack(redis.call('HMGET', KEYS[2], 'token', 'finished', 'inserted', 'label'))
if token == ARGV[2] then
  redis.call('PERSIST', KEYS[2])
  redis.call('HSET', KEYS[2], 'label', ARGV[4], 'contract', ARGV[3])
  return {'resumed'}
end
local unfinished = token and finished ~= '1' and tonumber(inserted) > 0
if unfinished and ARGV[6] ~= '1' then return {'unfinished', label, inserted} end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
redis.call('HSET', KEYS[2], 'token', ARGV[2], 'contract', ARGV[3], 'label', ARGV[4], 'inserted', ARGV[5],
  'allowed', '0', 'limit', '0', 'finished', '0', 'revision', '0')
return {'started'}`);

/**
 * Stores one chunk. KEYS run transitions actors; ARGV token, actor, sequence, transitions, updates of the policy that
 * acted, episodes, rows, '1' to accept a gap in the sequence, environment steps. → [state, inserted], where the state is `stored` (also if the chunk
 * was stored before), `wait` (also if Redis has lost the run, until the learner begins it again), `finished`, or `gone` if Redis
 * holds another run; or ['gap', number of the last chunk stored].
 */
export const appendChunk = script(`
local token, inserted, allowed, limit, finished = unpack(redis.call('HMGET', KEYS[1], 'token', 'inserted', 'allowed', 'limit', 'finished'))
if not token then return {'wait', 0} end
if token ~= ARGV[1] then return {'gone', 0} end
local last = tonumber(redis.call('HGET', KEYS[3], ARGV[2]) or '0')
local sequence = tonumber(ARGV[3])
inserted = tonumber(inserted)
if sequence <= last then return {'stored', inserted} end
if finished == '1' then return {'finished', inserted} end
if sequence > last + 1 and ARGV[8] ~= '1' then return {'gap', last} end
if inserted >= tonumber(allowed) or inserted >= tonumber(limit) then return {'wait', inserted} end
inserted = redis.call('HINCRBY', KEYS[1], 'inserted', ARGV[4])
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
redis.call('XADD', KEYS[2], '*', 'actor', ARGV[2], 'sequence', ARGV[3], 'count', ARGV[4], 'updates', ARGV[5],
  'inserted', inserted, 'episodes', ARGV[6], 'rows', ARGV[7], 'steps', ARGV[9])
return {'stored', inserted}`);

/** Reads the state of a run. KEYS run learner. → [token, shared settings, inserted, finished, revision, 1 if there is a learner]; nil for each field that is not set. */
export const readStatus = script(`
local status = redis.call('HMGET', KEYS[1], 'token', 'contract', 'inserted', 'finished', 'revision')
status[6] = redis.call('EXISTS', KEYS[2])
return status`);

/**
 * Records the learner's progress. KEYS learner run transitions; ARGV holder, token, transitions that actors may insert by now, and in the
 * whole run. → ['lost'], ['gone'] or ['ok', chunks in the stream, inserted].
 */
export const reportProgress = script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'lost'} end
if redis.call('HGET', KEYS[2], 'token') ~= ARGV[2] then return {'gone'} end
redis.call('HSET', KEYS[2], 'allowed', ARGV[3], 'limit', ARGV[4])
return {'ok', redis.call('XLEN', KEYS[3]), tonumber(redis.call('HGET', KEYS[2], 'inserted'))}`);

/** Publishes a policy. KEYS learner run policy; ARGV holder, token, updates, bytes. → ['lost'], ['gone'] or ['ok']. */
export const publishPolicy = script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'lost'} end
if redis.call('HGET', KEYS[2], 'token') ~= ARGV[2] then return {'gone'} end
local revision = redis.call('HINCRBY', KEYS[2], 'revision', 1)
redis.call('HSET', KEYS[3], 'revision', revision, 'updates', ARGV[3], 'bytes', ARGV[4])
return {'ok'}`);

/** Deletes the entries before `id`. KEYS learner transitions; ARGV holder, id. → ['lost'] or ['ok']. */
export const trimStream = script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'lost'} end
redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2])
return {'ok'}`);

/**
 * Marks the run as finished. KEYS learner run transitions actors policy; ARGV holder, token, seconds after which all keys
 * expire (actors must see the end before that). → ['lost'], ['gone'] or ['ok'].
 */
export const finishRun = script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'lost'} end
if redis.call('HGET', KEYS[2], 'token') ~= ARGV[2] then return {'gone'} end
redis.call('HSET', KEYS[2], 'finished', '1')
for i = 2, 5 do redis.call('EXPIRE', KEYS[i], ARGV[3]) end
return {'ok'}`);
