"""Writes a batch's output and error file: one pass over its input beside the stored ends, a line into one of them."""

from collections.abc import AsyncIterator

from tierline_gateway.batches.batch import Batch, FilePair
from tierline_gateway.batches.files import Files, FileWriter
from tierline_gateway.batches.input_lines import InputLine
from tierline_gateway.batches.output_lines import LINE, is_answered, line_id, unanswered_line
from tierline_gateway.batches.stored_file import PURPOSE_OUTPUT, StoredFile
from tierline_gateway.batches.transitions import FilesWritten
from tierline_gateway.deferred.store import Record, RecordStore
from tierline_gateway.front.openai_requests import decode_request

_PAGE = 64


class ResultFiles:
    """The two files of one attempt; those of an attempt that is not the batch's last one are thrown away."""

    def __init__(self, batch: Batch, output: FileWriter, error: FileWriter) -> None:
        self._batch = batch
        self._output = output
        self._error = error
        self._completed = self._failed = 0

    @classmethod
    async def begin(cls, batch: Batch, files: Files) -> "ResultFiles":
        output = await files.begin(batch.tenant, f"{batch.id}_output.jsonl", PURPOSE_OUTPUT)
        error = await files.begin(batch.tenant, f"{batch.id}_error.jsonl", PURPOSE_OUTPUT)
        return cls(batch, output, error)

    @property
    def begun(self) -> FilePair:
        return FilePair(self._output.file.id, self._error.file.id)

    async def write(self, source: StoredFile | None, files: Files, store: RecordStore) -> None:
        """Write every line of the input, answered or not, into one of the files; without input, every stored end."""
        ends = _ends(store, self._batch.id)
        end = await anext(ends, None)
        async for number, raw in files.lines(source):
            if end is not None and end.id == line_id(self._batch.id, number):
                await self._add(end.blob, answered=is_answered(end))
                end = await anext(ends, None)
            else:
                line = decode_request(InputLine, raw)
                content = unanswered_line(self._batch.id, number, line.custom_id, self._batch.unanswered)
                await self._add(content, answered=False)
        while end is not None:
            await self._add(end.blob, answered=is_answered(end))
            end = await anext(ends, None)

    async def finish(self, files: Files) -> FilesWritten:
        """Show the files that have lines, drop the others."""
        output = await self._shown(self._output, self._completed, files)
        error = await self._shown(self._error, self._failed, files)
        return FilesWritten(self.begun, FilePair(output, error), self._completed, self._failed)

    async def _add(self, line: bytes, *, answered: bool) -> None:
        if answered:
            self._completed += 1
            await self._output.write(line)
        else:
            self._failed += 1
            await self._error.write(line)

    async def _shown(self, writer: FileWriter, lines: int, files: Files) -> str:
        if lines:
            return (await writer.finish(self._batch.kept_seconds)).id
        await files.delete(writer.file.id)
        return ""


async def _ends(store: RecordStore, batch_id: str) -> AsyncIterator[Record]:
    """Yield the stored ends of a batch's lines in their order."""
    last = ""
    while page := await store.read(LINE, f"{batch_id}/", last, _PAGE):
        for record in page:
            yield record
        last = page[-1].id
