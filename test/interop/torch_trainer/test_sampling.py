"""Sampling over vLLM's protocol, compared with transformers and with the trainer's own scores."""

import hashlib
import io
import queue
import tempfile
import threading
import unittest
import zipfile

import torch
import transformers
from serving import LORA, MODELS, Case, EngineOptions

from pmpo_torch_trainer import engine as sampling_engine
from pmpo_torch_trainer import rows
from pmpo_torch_trainer.sampling import Context, RandomStream, SamplingSettings, _invert, _penalize, _restrict, sample_tokens
from pmpo_torch_trainer.services import ENGINE, call, common, engine

PROMPTS = [[1, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49], [1, 99], [1, 300, 20, 21]]
BOTH = ("llama", "gemma3")


def greedy_of_transformers(name, prompt, tokens, processor=lambda _ids, logits: logits):
    """Greedy tokens, each from a forward pass over the whole text without cache or padding."""
    model = transformers.AutoModelForCausalLM.from_pretrained(MODELS[name], dtype=torch.float32).eval()
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(tokens):
            logits = model(input_ids=torch.tensor([ids])).logits[:, -1]
            ids.append(int(processor(torch.tensor([ids]), logits)[0].argmax()))
    return ids[len(prompt) :]


class Sampling(Case):
    def test_greedy_tokens_equal_those_of_transformers_also_beyond_the_sliding_window(self):
        for name in BOTH:
            own = self.local(name)
            for prompt in PROMPTS:
                (found,) = own.complete(prompt, temperature=0, max_tokens=20, ignore_eos=True)
                self.assertEqual(list(found.output_ids), greedy_of_transformers(name, prompt, 20))
                self.assertEqual((found.finish_reason, found.prompt_tokens, found.completion_tokens), ("length", len(prompt), 20))

    def test_the_repetition_penalty_equals_that_of_transformers(self):
        from transformers import RepetitionPenaltyLogitsProcessor

        own = self.local("llama")
        prompts, penalties = PROMPTS[:2], (1.3, 0.7)
        found = [
            [list(own.complete(p, temperature=0, max_tokens=16, ignore_eos=True, repetition_penalty=x)[0].output_ids) for x in (1, *penalties)]
            for p in prompts
        ]
        for prompt, (plain, *penalized) in zip(prompts, found, strict=True):
            for penalty, tokens in zip(penalties, penalized, strict=True):
                self.assertEqual(tokens, greedy_of_transformers("llama", prompt, 16, RepetitionPenaltyLogitsProcessor(penalty)))
                self.assertNotEqual(tokens, plain)

    def test_waiting_requests_are_batched_without_changing_their_completions(self):
        for name in BOTH:
            own = self.local(name)
            alone = [own.complete(prompt, temperature=0, max_tokens=12, ignore_eos=True)[0].output_ids for prompt in PROMPTS]
            groups, gate, generate = [], threading.Event(), own.sampler._generate

            def held(group):
                groups.append(len(group))
                gate.wait()
                generate(group)

            own.sampler._generate = held
            first = own.generate(PROMPTS[1], max_tokens=1)
            while not groups:
                pass
            streams = [own.generate(prompt, temperature=0, max_tokens=12, ignore_eos=True) for prompt in PROMPTS]
            while own.engine("GetServerInfo").active_requests < 4:
                pass
            gate.set()
            next(first)
            together = [next(stream).complete.output_ids for stream in streams]
            self.assertEqual(together, alone)
            self.assertEqual(groups, [1, 3])

    def test_a_seed_makes_all_n_completions_repeatable_and_different_from_each_other(self):
        own = self.local("llama")
        ask = lambda **more: [list(c.output_ids) for c in own.complete(PROMPTS[0], n=4, max_tokens=8, **more)]  # noqa: E731
        first = ask(seed=5)
        self.assertEqual(ask(seed=5), first)
        self.assertEqual(len({tuple(tokens) for tokens in first}), 4)
        self.assertNotEqual(ask(seed=6), first)
        self.assertNotEqual(ask(), ask())
        self.assertEqual(ask(seed=-5), ask(seed=-5))

    def test_log_probs_are_reported_at_temperature_1(self):
        for name in BOTH:
            own = self.local(name)
            for temperature in (1.0, 0.3):
                made = own.complete(PROMPTS[0], n=3, max_tokens=12, temperature=temperature, seed=1, logprobs=0)
                scores = own.score([(PROMPTS[0], list(each.output_ids)) for each in made], policy=True)
                for each, score in zip(made, scores, strict=True):
                    self.close_to(each.output_logprobs.token_logprobs, list(score.log_prob), 1e-4)
                    self.assertEqual(each.output_logprobs.token_ids, each.output_ids)

    def test_prompt_log_probs_score_a_sequence(self):
        for name in BOTH:
            own = self.local(name)
            prompt, completion = PROMPTS[0][:4], PROMPTS[0][4:]
            (made,) = own.complete([*prompt, *completion], max_tokens=1, prompt_logprobs=0)
            scored = made.input_logprobs
            self.assertEqual(list(scored.token_ids), [*prompt, *completion])
            self.assertFalse(scored.token_logprobs[0].HasField("value"))
            values = [entry.value for entry in scored.token_logprobs][len(prompt) :]
            self.close_to(values, list(own.score([(prompt, completion)], policy=True)[0].log_prob), 1e-4)

    def test_top_log_probs(self):
        own = self.local("llama")
        (made,) = own.complete(PROMPTS[1], max_tokens=3, seed=2, logprobs=4, prompt_logprobs=2)
        logits = own.model.module(input_ids=torch.tensor([[*PROMPTS[1], *made.output_ids]])).logits[0]
        for at, top in enumerate(made.output_logprobs.top_logprobs):
            log_probs = logits[len(PROMPTS[1]) - 1 + at].log_softmax(-1)
            self.close_to(top.values, log_probs[list(top.token_ids)].detach(), 1e-4)
            sampled = made.output_ids[at]
            others = [t for t in log_probs.argsort(descending=True).tolist() if t != sampled][:3]
            self.assertEqual(list(top.token_ids), [sampled, *others])
        self.assertEqual([len(top.values) for top in made.input_logprobs.top_logprobs], [0, 2])

    def test_completions_end_at_stop_tokens_stop_texts_length_and_context(self):
        own = self.local("llama")
        prompt = PROMPTS[2]
        tokens = greedy_of_transformers("llama", prompt, 6)
        ask = lambda **more: own.complete(prompt, temperature=0, **more)[0]  # noqa: E731
        third = tokens.index(tokens[2]) + 1
        ended = ask(max_tokens=6, stop_token_ids=[tokens[2]], ignore_eos=True)
        self.assertEqual((list(ended.output_ids), ended.finish_reason, ended.matched_token_id), (tokens[:third], "stop", tokens[2]))
        later = ask(max_tokens=9, min_tokens=third + 1, stop_token_ids=[tokens[2]], ignore_eos=True)
        self.assertGreater(len(later.output_ids), third)
        self.assertNotIn(tokens[2], later.output_ids[:third])
        text = own.model.tokenizer.decode(tokens[:4])
        stopped = ask(max_tokens=6, stop=["never", text[-2:]], ignore_eos=True)
        self.assertEqual((stopped.finish_reason, stopped.matched_stop_str), ("stop", text[-2:]))
        self.assertLessEqual(len(stopped.output_ids), 4)
        full = ask(ignore_eos=True)
        self.assertEqual((full.finish_reason, full.completion_tokens), ("length", own.model.context_length - len(prompt)))

    def test_the_model_s_end_token_ends_a_completion_and_is_part_of_it(self):
        own = self.local("llama")
        made = own.complete(PROMPTS[1], n=40, max_tokens=60, seed=3)
        ended = [each for each in made if each.finish_reason == "stop"]
        self.assertGreater(len(ended), 0)
        for each in made:
            self.assertEqual(2 in each.output_ids, each.finish_reason == "stop")
            self.assertEqual(list(each.output_ids).index(2) + 1 if 2 in each.output_ids else 60, len(each.output_ids))
            self.assertFalse(each.HasField("matched_token_id"))

    def test_a_stream_has_chunks_and_repeats_the_last_one_at_the_end(self):
        own = self.local("llama")
        whole = own.complete(PROMPTS[0], n=2, max_tokens=5, seed=9, logprobs=0, prompt_logprobs=0)
        pieces = {0: [], 1: []}
        ends = {}
        inputs = []
        for answer in own.generate(PROMPTS[0], stream=True, n=2, max_tokens=5, seed=9, logprobs=0, prompt_logprobs=0):
            if answer.WhichOneof("response") == "chunk":
                pieces[answer.chunk.index].extend(answer.chunk.token_ids)
                inputs.append(len(answer.chunk.input_logprobs.token_logprobs))
                self.assertEqual(answer.chunk.completion_tokens, len(pieces[answer.chunk.index]))
            else:
                ends[answer.complete.index] = answer.complete
        for index, own_whole in enumerate(whole):
            self.assertEqual(pieces[index], list(own_whole.output_ids))
            self.assertEqual(list(ends[index].output_ids), pieces[index][-1:])
            self.assertEqual((ends[index].finish_reason, ends[index].completion_tokens), ("length", 5))
        self.assertEqual(sorted(set(inputs)), [0, len(PROMPTS[0])])

    def test_text_is_tokenized_by_the_model_s_tokenizer(self):
        own = self.local("llama")
        answers = list(own.engine("Generate", text="The cat", sampling_params=engine.SamplingParams(max_tokens=1, prompt_logprobs=0)))
        expected = own.model.tokenizer("The cat").input_ids
        self.assertEqual(list(answers[0].complete.input_logprobs.token_ids), expected)
        self.assertEqual(expected[0], 1)

    def test_unfinished_completions_keep_their_weights_and_later_ones_use_the_new_weights(self):
        own = self.local("llama", lora=LORA)
        before = own.complete(PROMPTS[0], temperature=0, max_tokens=40, ignore_eos=True)[0].output_ids
        stream = own.generate(PROMPTS[0], stream=True, temperature=0, max_tokens=40, ignore_eos=True)
        tokens = list(next(stream).chunk.token_ids)
        own.move(learning_rate=0.3)
        own.trainer("Publish", policy=True)
        for answer in stream:
            tokens.extend(answer.chunk.token_ids)
        self.assertEqual(tokens, list(before))
        after = own.complete(PROMPTS[0], temperature=0, max_tokens=40, ignore_eos=True)[0].output_ids
        self.assertNotEqual(list(after), list(before))

    def test_after_publishing_the_reference_samples_come_from_it(self):
        own = self.local("gemma3")
        own.move(learning_rate=0.1)
        self.assertEqual(own.trainer("Publish").published, 1)
        made = own.complete(PROMPTS[0], max_tokens=8, seed=1, logprobs=0)[0]
        score = own.score([(PROMPTS[0], list(made.output_ids))], policy=True, reference=True)[0]
        self.close_to(made.output_logprobs.token_logprobs, list(score.reference_log_prob), 1e-4)
        self.assertGreater(max(abs(a - b) for a, b in zip(score.log_prob, score.reference_log_prob, strict=True)), 0.01)

    def test_deterministic_sampling_is_bit_exact(self):
        own = self.local("llama", sampling=EngineOptions(deterministic=True))
        results = queue.SimpleQueue()
        ask = lambda: results.put([list(c.output_logprobs.token_logprobs) for c in own.complete(PROMPTS[0], n=3, max_tokens=9, seed=4, logprobs=0)])  # noqa: E731
        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        first = results.get()
        self.assertEqual([results.get() for _ in range(5)], [first] * 5)


class Ends(Case):
    def test_abort_and_cancellation(self):
        own = self.local("llama", context_length=60)
        gate = threading.Event()
        stepped = rows.CachedRows.step

        def slow(batch, tokens):
            gate.wait(0.05)
            return stepped(batch, tokens)

        rows.CachedRows.step = slow
        self.addCleanup(setattr, rows.CachedRows, "step", stepped)
        running = own.generate(PROMPTS[1], stream=True, request_id="one", ignore_eos=True)
        next(running)
        waiting = own.generate(PROMPTS[1], request_id="two", n=2)
        while own.engine("GetServerInfo").active_requests < 2:
            pass
        own.engine("Abort", request_ids=["two", "unknown"])
        self.assertEqual([answer.complete.finish_reason for answer in waiting], ["abort", "abort"])
        own.engine("Abort", request_ids=["one"])
        last = list(running)[-1].complete
        self.assertEqual(last.finish_reason, "abort")
        self.assertLess(last.completion_tokens, 58)
        cancelled = own.generate(PROMPTS[1], stream=True, ignore_eos=True)
        next(cancelled)
        cancelled.cancel()
        self.refused("DEADLINE_EXCEEDED", "(?i)deadline", lambda: own.generate(PROMPTS[1], ignore_eos=True, timeout=0.2))
        gate.set()
        while own.engine("GetServerInfo").active_requests > 0:
            pass
        self.assertEqual(len(own.complete(PROMPTS[1], n=2, max_tokens=1)), 2)

    def test_bad_requests(self):
        own = self.local("llama")
        ask = lambda prompt=PROMPTS[1], **params: own.generate(prompt, **params)  # noqa: E731
        for pattern, act in [
            ("prompt is empty", lambda: ask([])),
            ("token 320; the vocabulary ends at 319", lambda: ask([1, 320])),
            ("64 tokens leaves no room in the context of 64", lambda: ask([5] * 64)),
            ("max_tokens is 0", lambda: ask(max_tokens=0)),
            ("n is 2; it must be 1 if the temperature is 0", lambda: ask(n=2, temperature=0)),
            ("logprobs is 21; it must be from 0 to 20", lambda: ask(logprobs=21)),
            ("prompt_logprobs is -1", lambda: ask(prompt_logprobs=-1)),
            ("temperature is -1", lambda: ask(temperature=-1)),
            ("top_p is 1.5", lambda: ask(top_p=1.5)),
            ("min_tokens is 9", lambda: ask(max_tokens=3, min_tokens=9)),
            ("frequency_penalty is 2.5; it must be from -2 to 2", lambda: ask(frequency_penalty=2.5)),
            ("presence_penalty is nan", lambda: ask(presence_penalty=float("nan"))),
            ("repetition_penalty is -1", lambda: ask(repetition_penalty=-1)),
            ("stop_token_ids is 320; it must be a token of the model, at most 319", lambda: ask(min_tokens=1, stop_token_ids=[5, 320])),
            ("no input", lambda: own.engine("Generate")),
        ]:
            self.refused("INVALID_ARGUMENT", pattern, act)
        self.assertEqual(len(own.complete(PROMPTS[1], max_tokens=1)), 1)

    def test_a_request_larger_than_a_batch_is_sampled_in_portions(self):
        own, narrow = self.local("llama"), self.local("llama", sampling=sampling_engine.EngineOptions(max_sequences=3))
        asked = {"n": 8, "seed": 5, "max_tokens": 6, "logprobs": 0, "ignore_eos": True}
        widths = []
        stepped = rows.CachedRows.step
        self.addCleanup(setattr, rows.CachedRows, "step", stepped)

        def watched(batch, tokens):
            widths.append(len(tokens))
            return stepped(batch, tokens)

        rows.CachedRows.step = watched
        whole = own.complete(PROMPTS[1], **asked)
        self.assertEqual(max(widths), 8)
        widths.clear()
        parts = narrow.complete(PROMPTS[1], prompt_logprobs=0, **asked)
        self.assertEqual(max(widths), 3)
        self.assertEqual([list(one.output_ids) for one in parts], [list(one.output_ids) for one in whole])
        self.assertEqual(len(parts[7].input_logprobs.token_logprobs), len(PROMPTS[1]))

    def test_out_of_memory_and_broken_parameters_only_end_their_request(self):
        own = self.local("llama")
        stepped = rows.CachedRows.step
        self.addCleanup(setattr, rows.CachedRows, "step", stepped)

        def full(*_):
            raise torch.OutOfMemoryError("CUDA out of memory")

        rows.CachedRows.step = full
        self.refused("INTERNAL", "out of memory while sampling", lambda: own.generate(PROMPTS[1], max_tokens=3, ignore_eos=True))
        rows.CachedRows.step = stepped
        self.assertEqual(len(own.complete(PROMPTS[1], max_tokens=3, ignore_eos=True)[0].output_ids), 3)
        own.owner.publish({name: torch.full_like(tensor, torch.nan) for name, tensor in own.owner.reference.items()})
        self.refused("FAILED_PRECONDITION", "not finite", lambda: own.generate(PROMPTS[1], max_tokens=3))

    def test_model_and_server_info(self):
        own = self.local("gemma3")
        info = own.engine("GetModelInfo")
        self.assertEqual((info.max_context_length, info.vocab_size, info.model_type), (64, 320, "gemma3_text"))
        self.assertEqual((list(info.eos_token_ids), info.bos_token_id, list(info.architectures)), ([2], 1, ["Gemma3ForCausalLM"]))
        server = own.engine("GetServerInfo")
        self.assertEqual((server.server_type, server.active_requests), ("pmpo-torch-trainer", 0))
        self.assertTrue(own.engine("HealthCheck").healthy)

    def test_clients_get_the_whole_tokenizer(self):
        own = self.local("llama")
        chunks = list(call(own.channel, ENGINE, "GetTokenizer")(common.GetTokenizerRequest()))
        content = b"".join(chunk.data for chunk in chunks)
        self.assertEqual([chunk.sha256 for chunk in chunks][:-1], [""] * (len(chunks) - 1))
        self.assertEqual(chunks[-1].sha256, hashlib.sha256(content).hexdigest())
        with tempfile.TemporaryDirectory() as folder:
            zipfile.ZipFile(io.BytesIO(content)).extractall(folder)
            again = transformers.AutoTokenizer.from_pretrained(folder)
        self.assertEqual(again("The cat sat").input_ids, own.model.tokenizer("The cat sat").input_ids)
        vocabulary = own.model.tokenizer.get_vocab()
        lines = "".join(f"{number}\t{token}\n" for number, token in sorted((n, t) for t, n in vocabulary.items()))
        self.assertEqual(own.trainer("GetInfo").vocabulary_hash, hashlib.sha256(lines.encode()).hexdigest())


class TokenSampling(Case):
    LOGITS = torch.randn(3, 50, generator=torch.Generator().manual_seed(1)) * 2

    def test_inverting_at_a_grid_draws_each_token_with_its_probability(self):
        size = 20000
        grid = [(at + 0.5) / size for at in range(size)]
        tokens = _invert(self.LOGITS[:1].expand(size, -1), grid)
        counts = torch.bincount(tokens, minlength=50)
        self.assertLessEqual((counts - self.LOGITS[0].softmax(-1) * size).abs().max().item(), 1)

    def test_tokens_of_probability_0_are_never_drawn(self):
        logits = self.LOGITS[:1].clone()
        logits[0, [0, 1, 48, 49]] = -torch.inf
        for at in (0.0, 1 - 2**-53):
            self.assertNotIn(int(_invert(logits, [at])), [0, 1, 48, 49])

    def test_restrictions_equal_those_of_transformers(self):
        from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

        settings = [SamplingSettings(1, top_k=7), SamplingSettings(1, top_p=0.6), SamplingSettings(1, min_p=0.2)]
        found = _restrict(self.LOGITS.clone(), settings)
        for row, warper in enumerate([TopKLogitsWarper(7), TopPLogitsWarper(0.6), MinPLogitsWarper(0.2)]):
            expected = warper(None, self.LOGITS[row : row + 1].clone())[0]
            self.assertEqual((found[row] > -torch.inf).tolist(), (expected > -torch.inf).tolist())
            self.assertLess(int((found[row] > -torch.inf).sum()), 50)

    def test_temperature(self):
        cold, hot = ([sample_tokens(self.LOGITS[:1], [SamplingSettings(1, temperature=t)], [Context([], [])], [u / 50]).tokens.item() for u in range(50)] for t in (0.2, 5.0))
        self.assertLess(len(set(cold)), len(set(hot)))

    def test_penalties(self):
        from transformers import RepetitionPenaltyLogitsProcessor

        context = Context([0, 0, 4], [3, 1, 3])
        found = self.LOGITS[0].clone()
        _penalize(found, SamplingSettings(1, repetition_penalty=1.7), context)
        expected = RepetitionPenaltyLogitsProcessor(1.7)(torch.tensor([context.prompt + context.completion]), self.LOGITS[:1].clone())[0]
        self.close_to(found, expected, 1e-6)
        self.assertEqual((found != self.LOGITS[0]).nonzero().flatten().tolist(), [0, 1, 3, 4])

        # Presence counts once and frequency each time, only in the completion, and both after repetition.
        row = torch.tensor([2.0, -2.0, 1.0, 4.0, -1.0])
        for own, wanted in [
            (SamplingSettings(1, presence_penalty=0.5), [2, -2.5, 1, 3.5, -1]),
            (SamplingSettings(1, frequency_penalty=0.5), [2, -2.5, 1, 3, -1]),
            (SamplingSettings(1, repetition_penalty=2, presence_penalty=0.5, frequency_penalty=-1), [1, -3.5, 1, 3.5, -1]),
        ]:
            changed = row.clone()
            _penalize(changed, own, Context([0, 0], [3, 1, 3]))
            self.close_to(changed, torch.tensor(wanted), 1e-6)
        # The penalty affects which token is drawn, but not its log-prob.
        logits = torch.tensor([[2.0, 1.9, 0.0]])
        greedy = SamplingSettings(1, temperature=0, presence_penalty=1)
        chosen = sample_tokens(logits, [greedy], [Context([], [0])], [0.5])
        self.assertEqual(chosen.tokens.tolist(), [1])
        self.close_to(chosen.log_probs, logits.log_softmax(-1)[0, 1:2], 1e-6)

    def test_random_numbers_depend_only_on_seed_and_index(self):
        draw = lambda seed, index: [RandomStream(seed, index).next() for _ in range(2)]  # noqa: E731
        self.assertEqual(draw(1, 0)[0], draw(1, 0)[0])
        self.assertEqual(len({draw(seed, index)[0] for seed in (0, 1, -1) for index in (0, 1)}), 6)
        own = RandomStream(1, 0)
        self.assertNotEqual(own.next(), own.next())


if __name__ == "__main__":
    unittest.main()
