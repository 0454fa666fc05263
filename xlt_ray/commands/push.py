"""A folder, uploaded to the hub."""

from pathlib import Path

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import first_line


def push(folder: Path, name: str, *, public: bool = False) -> str:
    """Upload a folder to the hub, with the login of the machine; returns its address.

    Args:
        folder: The folder.
        name: Of the repository, which is made if there is none.
        public: Whether everybody may read it.

    Raises:
        ConfigError: everybody may read a repository that is there, the hub cannot be reached, or
            there is no right to write.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(name, private=not public, exist_ok=True)
        # Asked for afterwards, it is that of the repository that is written to, whoever made it.
        if not (public or api.model_info(name).private):
            raise ConfigError(
                f"export.push: {name} is there already, and public: nothing was uploaded. Set "
                "export.public=true, or name another"
            )
        done = api.upload_folder(repo_id=name, folder_path=folder)
    except ConfigError:
        raise
    except Exception as error:  # time-outs, proxies, rights: they have no base class of their own
        raise ConfigError(
            f"export.push: {name}: {first_line(error)}. The folder is whole: {folder}; log in with "
            f"`hf auth login` and upload it with `hf upload {name} {folder}`"
        ) from None
    return str(done)
