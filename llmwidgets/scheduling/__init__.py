"""Blocks, scheduler and simulation in pure Python: driven by the engine, by recordings and by planners."""

from llmwidgets.scheduling.block_pool import Block, BlockPool
from llmwidgets.scheduling.scheduler import Scheduler, SchedulerOutput
from llmwidgets.scheduling.sequence import Sequence
from llmwidgets.scheduling.serving_run import ServingRun

__all__ = ["Block", "BlockPool", "Scheduler", "SchedulerOutput", "Sequence", "ServingRun"]
