"""NVIDIA NeMo Data Designer: a seed data set and one column of texts.

python ask_data_designer.py URL PROMPTS OUT CONCURRENCY
"""

import json
import os
import sys
from pathlib import Path


def main(url: str, prompts: str, out: str, concurrency: str) -> None:
    os.environ["NEMO_TELEMETRY_ENABLED"] = "false"
    os.environ["DATA_DESIGNER_HOME"] = out
    import data_designer.config as dd
    import pandas as pd
    from data_designer.engine.storage.artifact_storage import ResumeMode
    from data_designer.interface import DataDesigner

    rows = pd.DataFrame([json.loads(line) for line in Path(prompts).read_text().splitlines()])
    designer = DataDesigner(
        artifact_path=Path(out) / "artifacts",
        model_providers=[
            dd.ModelProvider(name="mock", endpoint=f"{url}/v1", api_key="benchmark-key-0123456789")
        ],
    )
    builder = dd.DataDesignerConfigBuilder(
        model_configs=[
            dd.ModelConfig(
                alias="teacher",
                model="mock-small",
                provider="mock",
                skip_health_check=True,
                inference_parameters=dd.ChatCompletionInferenceParams(
                    max_tokens=256, max_parallel_requests=int(concurrency)
                ),
            )
        ]
    )
    builder.with_seed_dataset(dd.DataFrameSeedSource(df=rows))
    builder.add_column(
        dd.LLMTextColumnConfig(name="answer", prompt="{{ prompt }}", model_alias="teacher")
    )
    found = designer.create(builder, num_records=len(rows), resume=ResumeMode.IF_POSSIBLE)
    answers = found.load_dataset()
    print(json.dumps({"num_answers": len(answers)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
